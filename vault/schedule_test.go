package vault_test

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"runtime"
	"sync"

	"holdfast/vault/blob"
)

var errCrashed = errors.New("this process was killed")

// schedule lets several processes use one storage, one call at a time, in an
// order drawn by chance. A process may be stopped for long, or killed, before any
// of its calls, or killed after one without having its answer.
type schedule struct {
	r     *rand.Rand
	inner blob.Storage

	mu      sync.Mutex
	cond    *sync.Cond
	waiting []*request
	running int // processes that have not ended
	steps   int
}

type request struct {
	p     *process
	grant chan verdict
	done  chan struct{} // closed when the call is over
}

type verdict int

const (
	proceed verdict = iota
	die
	dieAfter
)

// process is one user of the storage.
type process struct {
	s       *schedule
	name    string
	stopped int  // not scheduled before this step
	mortal  bool // may be killed
	dead    bool
}

func newSchedule(r *rand.Rand, inner blob.Storage) *schedule {
	s := &schedule{r: r, inner: inner}
	s.cond = sync.NewCond(&s.mu)
	return s
}

// start runs a process, which is given its view of the storage.
func (s *schedule) start(name string, mortal bool, run func(st blob.Storage)) {
	p := &process{s: s, name: name, mortal: mortal}
	s.mu.Lock()
	s.running++
	s.mu.Unlock()
	go func() {
		defer func() {
			s.mu.Lock()
			s.running--
			s.mu.Unlock()
			s.cond.Signal()
		}()
		run(gated{p, s.inner})
	}()
}

// run schedules until every process has ended. between is called while all who
// have asked for a call wait.
func (s *schedule) run(between func(step int)) {
	for {
		s.mu.Lock()
		for len(s.waiting) == 0 && s.running > 0 {
			s.cond.Wait()
		}
		if s.running == 0 {
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		for range 20 { // others may be about to ask
			runtime.Gosched()
		}
		s.mu.Lock()
		s.steps++
		req := s.pick()
		v := s.judge(req.p)
		step := s.steps
		s.mu.Unlock()
		between(step)
		req.grant <- v
		<-req.done
	}
}

func (s *schedule) pick() *request {
	var ready []int
	for i, w := range s.waiting {
		if w.p.stopped <= s.steps || w.p.dead {
			ready = append(ready, i)
		}
	}
	at := s.r.IntN(len(s.waiting)) // all are stopped: one wakes up
	if len(ready) > 0 {
		at = ready[s.r.IntN(len(ready))]
	}
	req := s.waiting[at]
	s.waiting = append(s.waiting[:at], s.waiting[at+1:]...)
	return req
}

func (s *schedule) judge(p *process) verdict {
	if s.r.IntN(40) == 0 {
		p.stopped = s.steps + s.r.IntN(600)
	}
	switch {
	case p.dead:
		return die
	case !p.mortal || s.r.IntN(150) > 0:
		return proceed
	}
	p.dead = true
	return die + verdict(s.r.IntN(2))
}

// do makes one call when it is its turn.
func (p *process) do(call func() error) error {
	req := &request{p, make(chan verdict), make(chan struct{})}
	defer close(req.done)
	p.s.mu.Lock()
	p.s.waiting = append(p.s.waiting, req)
	p.s.mu.Unlock()
	p.s.cond.Signal()
	switch <-req.grant {
	case die:
		return errCrashed
	case dieAfter:
		_ = call() // nobody hears the answer
		return errCrashed
	}
	return call()
}

// gated is a process's view of a storage.
type gated struct {
	p     *process
	inner blob.Storage
}

// on is the same process's view of another storage.
func on(st, other blob.Storage) blob.Storage { return gated{st.(gated).p, other} }

func (g gated) PutNew(ctx context.Context, name string, data []byte) error {
	return g.p.do(func() error { return g.inner.PutNew(ctx, name, data) })
}

func (g gated) Get(ctx context.Context, name string, limit int64) (data []byte, err error) {
	err = g.p.do(func() (err error) { data, err = g.inner.Get(ctx, name, limit); return err })
	return data, err
}

func (g gated) ReadAt(ctx context.Context, name string, p []byte, off int64) error {
	return g.p.do(func() error { return g.inner.ReadAt(ctx, name, p, off) })
}

func (g gated) Stat(ctx context.Context, name string) (info blob.Info, err error) {
	err = g.p.do(func() (err error) { info, err = g.inner.Stat(ctx, name); return err })
	return info, err
}

func (g gated) Delete(ctx context.Context, name string) error {
	return g.p.do(func() error { return g.inner.Delete(ctx, name) })
}

// List is two calls with others between them, each blob as it is at one of them.
func (g gated) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		var all []blob.Info
		half := func(first bool) error {
			var err error
			for info, ierr := range g.inner.List(ctx, prefix) {
				if ierr != nil {
					err = ierr
				} else if (len(info.Name)+int(info.Name[len(info.Name)-1]))%2 == 0 == first {
					all = append(all, info)
				}
			}
			return err
		}
		for _, first := range []bool{true, false} {
			if err := g.p.do(func() error { return half(first) }); err != nil {
				yield(blob.Info{}, err)
				return
			}
		}
		for _, info := range all {
			if !yield(info, nil) {
				return
			}
		}
	}
}
