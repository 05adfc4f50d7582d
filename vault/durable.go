package vault

import (
	"sync"

	"holdfast/vault/chunk"
)

// settled is where a chunk went that was read.
type settled struct {
	durable bool   // it is safe already
	pack    uint64 // the number of the data pack that it is in; 0 for another's
}

// tell reports a range as durable now, or once its pack is. One that waits for
// another reader's chunk is not reported.
func (w *imageWriter) tell(offset, length int64, at settled) {
	switch {
	case w.in.Durable == nil:
	case at.durable:
		w.in.Durable(offset, length)
	case at.pack > 0:
		w.s.data.safe.when(at.pack, func() { w.in.Durable(offset, length) })
	}
}

// indexed reports whether a chunk that another has claimed is in the index, and
// so durable.
func (s *Session) indexed(id chunk.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, fresh := s.fresh[id]
	return !fresh
}

// safety knows which packs of a session are durable, and who waits for that. Its
// methods may be called concurrently.
type safety struct {
	mu      sync.Mutex
	durable map[uint64]bool
	waiting map[uint64][]func()
}

// when calls f once the pack is durable: at once, if it is; never, if the session
// ends before.
func (s *safety) when(pack uint64, f func()) {
	s.mu.Lock()
	if !s.durable[pack] {
		if s.waiting == nil {
			s.waiting = map[uint64][]func(){}
		}
		s.waiting[pack] = append(s.waiting[pack], f)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	f()
}

// reached says that a pack is durable.
func (s *safety) reached(pack uint64) {
	s.mu.Lock()
	if s.durable == nil {
		s.durable = map[uint64]bool{}
	}
	s.durable[pack] = true
	calls := s.waiting[pack]
	delete(s.waiting, pack)
	s.mu.Unlock()
	for _, f := range calls {
		f()
	}
}
