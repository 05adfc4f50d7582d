package vault

import (
	"errors"

	"holdfast/vault/blob"
	"holdfast/vault/chunk"
	"holdfast/vault/index"
)

// claim reports whether the caller is the one to store the chunk. An index that
// cannot be read for now is an error: what it holds would all be stored again.
func (s *Session) claim(id chunk.ID) (bool, error) {
	for {
		s.mu.Lock()
		_, taken := s.fresh[id]
		set := s.set
		s.mu.Unlock()
		if taken {
			return false, nil
		}
		if _, found, err := s.find(set, id); err != nil || found {
			return false, err
		}
		if mine, again := s.register(set, id); !again {
			return mine, nil
		}
	}
}

// register claims a chunk that the set does not have; again says that the set has
// changed meanwhile.
func (s *Session) register(set *index.Set, id chunk.ID) (mine, again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.fresh[id]; taken {
		return false, false
	}
	if s.set != set {
		return false, true
	}
	s.fresh[id] = struct{}{}
	return true, false
}

// has reports whether the chunk is stored already, or about to be.
func (s *Session) has(id chunk.ID) (bool, error) {
	s.mu.Lock()
	_, taken := s.fresh[id]
	set := s.set
	s.mu.Unlock()
	if taken {
		return true, nil
	}
	_, found, err := s.find(set, id)
	return found, err
}

// find looks a chunk up. A damaged segment is as if it were not there: what only
// it knows is stored again.
func (s *Session) find(set *index.Set, id chunk.ID) (p index.Place, found bool, err error) {
	p, found, err = set.Find(s.ctx, id)
	if errors.Is(err, blob.ErrNotFound) {
		// A collector has merged the segment since the session began. It waited for the
		// sessions before its plan, so this one knows what was condemned; and what has
		// come since it began is not used.
		if err := s.look(); err != nil {
			return p, false, err
		}
		p, found, err = s.current().Find(s.ctx, id)
	}
	if err != nil && damage(err) {
		s.v.discard(err)
		err = nil
	}
	return p, found, err
}

// look reads the index anew.
func (s *Session) look() error {
	if err := s.v.refresh(s.ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set = s.v.current().Only(s.usable)
	for _, l := range s.own {
		s.set = s.set.With(l)
	}
	return nil
}

func (s *Session) current() *index.Set {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set
}

// know adds to the set. s.mu is held, or the session is not shared yet.
func (s *Session) know(l index.Lookup) {
	s.own = append(s.own, l)
	s.set = s.set.With(l)
}
