package operation

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"holdfast"
)

// entries are the journal of one operation, as far as this claim knows it.
type entries struct {
	mu sync.Mutex
	m  map[string]json.RawMessage
}

func newEntries(m map[string]json.RawMessage) *entries {
	if m == nil {
		m = map[string]json.RawMessage{}
	}
	return &entries{m: m}
}

func (e *entries) put(key string, v json.RawMessage) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.m[key] = v
}

func (e *entries) get(key string) (json.RawMessage, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	v, ok := e.m[key]
	return v, ok
}

// progress is what a handler last said, until it is published.
type progress struct {
	mu    sync.Mutex
	p     holdfast.Progress
	dirty bool
}

func (p *progress) set(v holdfast.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dirty = p.dirty || p.p != v
	p.p = v
}

// take gives the progress and whether it is news.
func (p *progress) take() (holdfast.Progress, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	dirty := p.dirty
	p.dirty = false
	return p.p, dirty
}

// unpublished makes the progress news again.
func (p *progress) unpublished() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dirty = true
}

// nowhere is the queue of a detached run: it holds its lease for ever.
type nowhere struct{}

func (nowhere) Claim(context.Context, ClaimRequest) (holdfast.Operation, error) {
	return holdfast.Operation{}, ErrNone
}
func (nowhere) Renew(context.Context, Lease, time.Duration, holdfast.Progress) (bool, error) {
	return false, nil
}
func (nowhere) Journal(ctx context.Context, _ Lease, _ string, _ json.RawMessage) error {
	return context.Cause(ctx)
}
func (nowhere) Entries(context.Context, Lease) (map[string]json.RawMessage, error) {
	return nil, nil
}
func (nowhere) Finish(context.Context, Lease, Outcome) error { return nil }
