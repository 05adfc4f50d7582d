package index

import (
	"context"
	"fmt"
	"iter"
	"runtime/debug"
	"slices"
	"sync/atomic"

	"holdfast/vault/chunk"
	"holdfast/vault/pack"
)

// Lookup is something that knows places of chunks: a Segment or a Part.
type Lookup interface {
	places(ctx context.Context, id *chunk.ID) ([]Place, error)
	eachPack(ctx context.Context, yield func(pack.Info) bool) error
	maybe(id *chunk.ID) bool
}

// SegmentError says which segment could not be read.
type SegmentError struct {
	Segment *Segment
	Err     error
}

// Error names the segment.
func (e *SegmentError) Error() string { return fmt.Sprintf("%s: %v", e.Segment.Name(), e.Err) }

// Unwrap returns the cause.
func (e *SegmentError) Unwrap() error { return e.Err }

// Set is what several segments and parts know together. It is immutable and safe
// for concurrent use.
type Set struct {
	members []member // the newest last
	hot     atomic.Int64
}

type member struct {
	Lookup

	usable func(pack.Info) bool // nil for any pack
}

func (m member) wrap(err error) error {
	if s, ok := m.Lookup.(*Segment); ok {
		return &SegmentError{s, err}
	}
	return err
}

// NewSet returns a set, the newest last.
func NewSet(members ...Lookup) *Set {
	s := &Set{}
	for _, m := range members {
		s.members = append(s.members, member{Lookup: m})
	}
	return s
}

// With returns the set with one more member, of which every pack may be used.
func (s *Set) With(l Lookup) *Set {
	return &Set{members: append(slices.Clip(s.members), member{Lookup: l})}
}

// Only returns the set with no place in packs for which usable is false.
func (s *Set) Only(usable func(pack.Info) bool) *Set {
	n := &Set{members: slices.Clone(s.members)}
	for i, m := range n.members {
		n.members[i].usable = func(p pack.Info) bool { return (m.usable == nil || m.usable(p)) && usable(p) }
	}
	return n
}

// Packs yields every pack the set knows, usable or not, and each member that
// cannot be read as an error, as Find does; one pack may come more than once.
func (s *Set) Packs(ctx context.Context) iter.Seq2[pack.Info, error] {
	return func(yield func(pack.Info, error) bool) {
		for _, m := range s.members {
			more := true
			err := m.eachPack(ctx, func(p pack.Info) bool {
				more = yield(p, nil)
				return more
			})
			if !more || err != nil && !yield(pack.Info{}, m.wrap(err)) {
				return
			}
		}
	}
}

// Find returns a place of a chunk in a pack that is usable. It believes the
// filters: a chunk that it does not find may, if one was damaged on this machine,
// be there all the same, and is at worst stored twice. A member that cannot be read
// is an error only if no other has the chunk; damage of one is a *SegmentError.
func (s *Set) Find(ctx context.Context, id chunk.ID) (place Place, found bool, err error) {
	for _, i := range s.likely(&id) {
		for p, perr := range s.in(ctx, i, &id) {
			if perr == nil {
				return p, true, nil
			}
			err = perr
		}
	}
	return Place{}, false, err
}

// All yields every usable place of a chunk, whatever the filters say, and each
// member that cannot be read as an error, as Find does. The first is the likeliest.
func (s *Set) All(ctx context.Context, id chunk.ID) iter.Seq2[Place, error] {
	return func(yield func(Place, error) bool) {
		likely := s.likely(&id)
		for _, i := range likely {
			for p, err := range s.in(ctx, i, &id) {
				if !yield(p, err) {
					return
				}
			}
		}
		for i := range s.members {
			if slices.Contains(likely, i) {
				continue
			}
			for p, err := range s.in(ctx, i, &id) {
				if !yield(p, err) {
					return
				}
			}
		}
	}
}

// in yields the usable places that one member knows.
func (s *Set) in(ctx context.Context, i int, id *chunk.ID) iter.Seq2[Place, error] {
	return func(yield func(Place, error) bool) {
		m := s.members[i]
		places, err := m.places(ctx, id)
		if err != nil {
			yield(Place{}, m.wrap(err))
			return
		}
		for _, p := range places {
			if m.usable != nil && !m.usable(p.Pack) {
				continue
			}
			s.hot.Store(int64(i))
			if !yield(p, nil) {
				return
			}
		}
	}
}

// likely are the members that may have a chunk: first the one that had the last,
// then the newest. Filters lie in mapped files, and a disk that fails under one of
// them is no reason to die: then every member may have it.
func (s *Set) likely(id *chunk.ID) (found []int) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			if _, fault := r.(interface{ Addr() uintptr }); !fault {
				panic(r)
			}
			found = found[:0]
			for i := range s.members {
				found = append(found, i)
			}
		}
	}()
	hot := int(s.hot.Load())
	if hot < len(s.members) && s.members[hot].maybe(id) {
		found = append(found, hot)
	}
	for i, m := range slices.Backward(s.members) {
		if i != hot && m.maybe(id) {
			found = append(found, i)
		}
	}
	return found
}
