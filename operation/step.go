package operation

import (
	"context"
	"encoding/json"
	"fmt"
)

type stepEntry struct {
	Epoch  int64           `json:"epoch"` // of the claim that began it
	Done   bool            `json:"done"`
	Result json.RawMessage `json:"result,omitempty"`
}

// StepKey is the journal's key of a step: there is an entry once it has begun.
func StepKey(step string) string { return "step/" + step }

// Do runs one step at most once to its end: it journals that the step begins,
// acts, and journals the result; a successor gets the journalled result without
// acting again. A step that was begun and not ended acts again, so act must
// find and adopt, or undo, what an earlier claim has left; Begun tells of it.
func Do[T any](ctx context.Context, run *Run, step string, act func(ctx context.Context) (T, error)) (T, error) {
	var out T
	var e stepEntry
	found, err := run.Load(StepKey(step), &e)
	if err != nil {
		return out, err
	}
	if found && e.Done {
		if err := json.Unmarshal(e.Result, &out); err != nil {
			return out, fmt.Errorf("operation: result of step %s: %w", step, err)
		}
		return out, nil
	}
	if err := run.Save(ctx, StepKey(step), stepEntry{Epoch: run.Epoch()}); err != nil {
		return out, err
	}
	if out, err = act(ctx); err != nil {
		return out, err
	}
	b, err := json.Marshal(out)
	if err != nil {
		return out, fmt.Errorf("operation: result of step %s: %w", step, err)
	}
	// What is done is written down even when the handler is to stop now.
	return out, run.Save(run.Held(), StepKey(step), stepEntry{Epoch: run.Epoch(), Done: true, Result: b})
}

// StepIn says of a journal whether a step was begun, and ended.
func StepIn(journal map[string]json.RawMessage, step string) (begun, done bool, err error) {
	b, begun := journal[StepKey(step)]
	if !begun {
		return false, false, nil
	}
	var e stepEntry
	if err := json.Unmarshal(b, &e); err != nil {
		return true, false, fmt.Errorf("operation: step %s: %w", step, err)
	}
	return true, e.Done, nil
}

// Begun says whether a claim has begun a step, which it was, and whether the
// step's end is journalled too.
func Begun(run *Run, step string) (epoch int64, done, begun bool, err error) {
	var e stepEntry
	begun, err = run.Load(StepKey(step), &e)
	return e.Epoch, e.Done, begun, err
}
