package machine_test

import (
	"context"
	"encoding/json"
	"maps"
	"sync"
	"testing"
	"time"

	"holdfast"
	"holdfast/operation"
)

// journal is a queue of one operation, which keeps its journal when a runner dies.
type journal struct {
	mu      sync.Mutex
	op      holdfast.Operation
	epoch   int64
	entries map[string]json.RawMessage
	outcome *operation.Outcome
	told    int           // how often the runner was told of the cancel
	known   chan struct{} // closed when it must know of it
}

func (j *journal) Claim(context.Context, operation.ClaimRequest) (holdfast.Operation, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.outcome != nil {
		return holdfast.Operation{}, operation.ErrNone
	}
	j.epoch++
	j.op.Epoch = j.epoch
	return j.op, nil
}

func (j *journal) held(l operation.Lease) error {
	if l.Epoch != j.epoch || j.outcome != nil {
		return operation.ErrLeaseLost
	}
	return nil
}

func (j *journal) Renew(_ context.Context, l operation.Lease, _ time.Duration, _ holdfast.Progress) (bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.op.Cancel {
		// The answer before has been acted upon when the runner asks again.
		if j.told++; j.told == 2 {
			close(j.known)
		}
	}
	return j.op.Cancel, j.held(l)
}

func (j *journal) Journal(_ context.Context, l operation.Lease, key string, value json.RawMessage) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.held(l); err != nil {
		return err
	}
	j.entries[key] = value
	return nil
}

func (j *journal) Entries(_ context.Context, l operation.Lease) (map[string]json.RawMessage, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.entries), j.held(l)
}

func (j *journal) Finish(_ context.Context, l operation.Lease, o operation.Outcome) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.held(l); err != nil {
		return err
	}
	if !o.Retry {
		j.outcome = &o
	} else {
		j.op.Attempts++
	}
	return nil
}

func (j *journal) ended() *operation.Outcome {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.outcome
}

// end is how the operation ended: "" well, else the code of its failure.
func (j *journal) end() holdfast.Code {
	switch o := j.ended(); {
	case o == nil:
		return "not yet"
	case o.Failure != nil:
		return o.Failure.Code
	}
	return ""
}

func (j *journal) begun(t *testing.T, step string) bool {
	t.Helper()
	begun, _, err := operation.StepIn(j.entries, step)
	if err != nil {
		t.Fatal(err)
	}
	return begun
}
