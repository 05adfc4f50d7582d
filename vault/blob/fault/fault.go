// Package fault wraps a blob storage with failures, delays and a bandwidth limit, for tests.
package fault

import (
	"context"
	"iter"
	"strings"
	"sync"
	"time"

	"holdfast/vault/blob"
)

// Op is a method of blob.Storage, or of blob.Retainer.
type Op string

// The operations. Any matches each of them.
const (
	Any    Op = ""
	Put    Op = "put"
	Get    Op = "get"
	Read   Op = "read"
	Stat   Op = "stat"
	List   Op = "list"
	Delete Op = "delete"
	Retain Op = "retain"
)

// Call is one use of the storage.
type Call struct {
	Op     Op
	Name   string // or prefix
	Number int    // counts all calls, from 1
}

// Storage is a blob.Storage that fails as it is told. It is safe for concurrent use.
type Storage struct {
	inner blob.Storage

	mu      sync.Mutex
	faults  []*Fault
	calls   int
	seen    []Call
	onFault func(Call)
	latency time.Duration
	rate    int64     // bytes a second
	free    time.Time // when the line is free again
}

// New wraps a storage. Without faults it behaves as the inner one.
func New(inner blob.Storage) *Storage { return &Storage{inner: inner} }

// SetLatency delays every call.
func (s *Storage) SetLatency(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency = d
}

// SetBandwidth limits the bytes put, got and read in a second, over all calls
// together; 0 is no limit.
func (s *Storage) SetBandwidth(bytesPerSecond int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate, s.free = bytesPerSecond, time.Time{}
}

// Calls returns what was called so far.
func (s *Storage) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Call(nil), s.seen...)
}

// AddFault arms a fault for an operation; what it does is said by its methods.
// The first armed fault that matches a call is used.
func (s *Storage) AddFault(op Op) *Fault {
	f := &Fault{op: op, times: 1}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, f)
	return f
}

// OnFault sets what is told of every call that a fault hits.
func (s *Storage) OnFault(f func(Call)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onFault = f
}

// ClearFaults disarms everything.
func (s *Storage) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// enter counts the call, delays it, and picks its fault.
func (s *Storage) enter(ctx context.Context, op Op, name string) (*Fault, error) {
	s.mu.Lock()
	s.calls++
	call := Call{op, name, s.calls}
	s.seen = append(s.seen, call)
	wait := s.latency
	var hit *Fault
	for _, f := range s.faults {
		if f.take(call) {
			hit = f
			break
		}
	}
	if hit != nil && s.onFault != nil {
		s.onFault(call)
	}
	s.mu.Unlock()
	if hit == nil {
		return &Fault{}, sleep(ctx, wait)
	}
	if err := sleep(ctx, wait+hit.delay); err != nil {
		return hit, err
	}
	if hit.call != nil {
		hit.call(call)
	}
	return hit, hit.before
}

// transfer takes the time that so many bytes need.
func (s *Storage) transfer(ctx context.Context, n int) error {
	s.mu.Lock()
	var wait time.Duration
	if s.rate > 0 {
		now := time.Now()
		if s.free.Before(now) {
			s.free = now
		}
		s.free = s.free.Add(time.Duration(int64(n) * int64(time.Second) / s.rate))
		wait = s.free.Sub(now)
	}
	s.mu.Unlock()
	return sleep(ctx, wait)
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// PutNew implements blob.Storage.
func (s *Storage) PutNew(ctx context.Context, name string, data []byte) error {
	f, err := s.enter(ctx, Put, name)
	if err != nil {
		return err
	}
	if err := s.transfer(ctx, len(data)); err != nil {
		return err
	}
	if err := s.inner.PutNew(ctx, name, f.changed(data)); err != nil {
		return err
	}
	return f.after
}

// Get implements blob.Storage.
func (s *Storage) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	f, err := s.enter(ctx, Get, name)
	if err != nil {
		return nil, err
	}
	data, err := s.inner.Get(ctx, name, limit)
	if err != nil {
		return nil, err
	}
	if err := s.transfer(ctx, len(data)); err != nil {
		return nil, err
	}
	return f.changed(data), f.after
}

// ReadAt implements blob.Storage.
func (s *Storage) ReadAt(ctx context.Context, name string, p []byte, off int64) error {
	f, err := s.enter(ctx, Read, name)
	if err != nil {
		return err
	}
	if err := s.inner.ReadAt(ctx, name, p, off); err != nil {
		return err
	}
	if err := s.transfer(ctx, len(p)); err != nil {
		return err
	}
	clear(p[copy(p, f.changed(p)):])
	return f.after
}

// Stat implements blob.Storage.
func (s *Storage) Stat(ctx context.Context, name string) (blob.Info, error) {
	f, err := s.enter(ctx, Stat, name)
	if err != nil {
		return blob.Info{}, err
	}
	info, err := s.inner.Stat(ctx, name)
	if err != nil {
		return blob.Info{}, err
	}
	return info, f.after
}

// List implements blob.Storage. A fault's later error comes at the end of the list.
func (s *Storage) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		f, err := s.enter(ctx, List, prefix)
		if err != nil {
			yield(blob.Info{}, err)
			return
		}
		for info, err := range s.inner.List(ctx, prefix) {
			if !yield(info, err) {
				return
			}
		}
		if f.after != nil {
			yield(blob.Info{}, f.after)
		}
	}
}

// Delete implements blob.Storage.
func (s *Storage) Delete(ctx context.Context, name string) error {
	f, err := s.enter(ctx, Delete, name)
	if err != nil {
		return err
	}
	if err := s.inner.Delete(ctx, name); err != nil {
		return err
	}
	return f.after
}

func hasPrefix(name, prefix string) bool { return strings.HasPrefix(name, prefix) }
