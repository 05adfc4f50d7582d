package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/vault/blob"
	"holdfast/vault/chunk"
	"holdfast/vault/index"
	"holdfast/vault/pack"
	"holdfast/vault/seal"
)

const (
	workers = 2
	// Packs in the making: one fills while the other is uploaded, which keeps both
	// the cores and the line busy. More would not be faster, but live memory is what
	// the garbage collector doubles. A killed session uploads again at most the
	// packs in flight.
	dataBuffers  = 2
	metaBuffers  = 2
	metaPackSize = 4 << 20
	// A segment is written whenever so many chunks are durable but not yet indexed,
	// so that memory does not grow with the backup.
	segmentEntries = 1 << 16
)

// Session writes one backup and no other, not even under a successor. Its methods may be called concurrently, but its
// memory is bounded for one image at a time only. Everything it wrote is garbage
// until Commit, and its packs are found again by a session of the same id.
type Session struct {
	v      *Vault
	id     string
	ctx    context.Context //nolint:containedctx // the life of the callback that Write runs
	cancel context.CancelCauseFunc
	data   *packer
	meta   *packer

	uploaded atomic.Int64
	adopted  int64
	uploads  sync.WaitGroup

	usable func(pack.Info) bool // of the packs that were there when the session began

	mu        sync.Mutex
	set       *index.Set
	own       []index.Lookup        // what the set knows besides
	fresh     map[chunk.ID]struct{} // claimed here, not yet in set
	pending   []index.Contents      // durable, not yet in a segment
	entries   int                   // in pending
	read      int64
	changed   int64
	backup    string // that it commits
	committed bool
}

// Write runs fn in the session of the given id and then flushes what it wrote. A
// session that died earlier is taken up: what it has sealed is not uploaded
// again. When fn has committed, the session ends; when it returns nil without, or
// an error, the session stays to be taken up, until Abandon. After a collector
// has ended it, Write is ErrSessionLost.
func (v *Vault) Write(ctx context.Context, session string, fn func(context.Context, *Session) error) error {
	s, err := v.begin(ctx, session)
	if err != nil {
		return fmt.Errorf("vault session %s: %w", session, err)
	}
	defer s.uploads.Wait()
	defer s.cancel(nil)
	if err := fn(s.ctx, s); err != nil {
		return err
	}
	if !s.committed {
		if err := s.flush(); err != nil {
			return fmt.Errorf("vault session %s: %w", session, err)
		}
		return nil
	}
	if err := v.st.Delete(ctx, sessionPrefix+session); err != nil {
		// The backup is complete; the mark only keeps a collector waiting, and the
		// next session of this id, or Abandon, removes it.
		return nil //nolint:nilerr // see above
	}
	return nil
}

// begin marks the session before it loads any index: a collector that does not
// see the mark has not yet condemned what this session will refer to.
func (v *Vault) begin(ctx context.Context, id string) (*Session, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	if strings.HasPrefix(id, collectSession) || strings.HasPrefix(id, repairSession) {
		return nil, fmt.Errorf("%w: %q is a collector's or a repair's", ErrID, id)
	}
	if err := v.ring.renew(ctx); err != nil {
		return nil, err
	}
	if gone, err := v.ended(ctx, id); err != nil || gone {
		return nil, errors.Join(err, lost(gone))
	}
	if err := v.mark(ctx, id); err != nil {
		return nil, err
	}
	if err := v.refresh(ctx); err != nil {
		return nil, err
	}
	usable, err := v.usable(ctx)
	if err != nil {
		return nil, err
	}
	return v.newSession(ctx, id, usable)
}

// newSession takes over the packs of a predecessor. Packs for which usable is
// false are as if they were not there.
func (v *Vault) newSession(ctx context.Context, id string, usable func(pack.Info) bool) (*Session, error) {
	if err := v.fill(ctx); err != nil {
		return nil, err
	}
	s := &Session{v: v, id: id, fresh: map[chunk.ID]struct{}{}}
	if err := s.adopt(ctx, usable); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	s.data = newPacker(s, pack.Data, v.params.PackSize, dataBuffers)
	s.meta = newPacker(s, pack.Meta, v.metaPackSize(), metaBuffers)
	return s, nil
}

// metaPackSize is the size of a full pack of tree nodes, in bytes.
func (v *Vault) metaPackSize() int {
	return min(max(metaPackSize, v.params.ChunkSize*2), v.params.PackSize)
}

func (v *Vault) mark(ctx context.Context, id string) error {
	name := sessionPrefix + id
	text, err := json.Marshal(struct {
		Session string    `json:"session"`
		BeganAt time.Time `json:"beganAt"` // for people: liveness never compares clocks
	}{id, time.Now().UTC()})
	if err != nil {
		return err
	}
	data, err := seal.Object(v.ring, seal.NewHeader(seal.Session, v.ring.Current()), name, text)
	if err != nil {
		return err
	}
	if err := v.st.PutNew(ctx, name, data); err != nil && !errors.Is(err, blob.ErrExists) {
		return err
	}
	return nil
}

// adopt takes over the sealed packs of a predecessor, and disregards what the
// index says of packs that are gone or cut short, so that their chunks are
// stored again.
func (s *Session) adopt(ctx context.Context, allowed func(pack.Info) bool) error {
	sizes := map[packKey]int64{}
	for info, err := range s.v.st.List(ctx, pack.Prefix) {
		if err != nil {
			return fmt.Errorf("list packs: %w", err)
		}
		sizes[keyOf(info.Name)] = info.Size
	}
	s.usable = func(p pack.Info) bool { return sizes[keyOf(p.Name())] == int64(p.Size) && allowed(p) }
	s.set = s.v.current().Only(s.usable)
	contents, total, err := s.v.uncovered(ctx, pack.Prefix+s.id+"/", s.set)
	if err != nil {
		return err
	}
	s.adopted = total
	contents = slices.DeleteFunc(contents, func(c index.Contents) bool { return !allowed(c.Info) })
	if len(contents) > 0 {
		s.know(index.NewPart(contents))
		s.pending = contents
		for _, c := range contents {
			s.entries += len(c.Entries)
		}
	}
	return nil
}

// Adopted is the number of bytes that predecessors of the same id had uploaded in packs.
func (s *Session) Adopted() int64 { return s.adopted }

// Uploaded is the number of bytes this session has stored durably itself so far.
// Adopted and Uploaded together count everything transferred over all attempts.
func (s *Session) Uploaded() int64 { return s.uploaded.Load() }

func (s *Session) fail(err error) { s.cancel(err) }

// durable takes note of a pack that is safe, and writes a segment when there is
// enough for one.
func (s *Session) durable(c index.Contents) error {
	s.mu.Lock()
	s.pending = append(s.pending, c)
	s.entries += len(c.Entries)
	if s.entries < segmentEntries {
		s.mu.Unlock()
		return nil
	}
	batch := s.take()
	s.mu.Unlock()
	return s.index(batch)
}

func (s *Session) take() []index.Contents {
	batch := s.pending
	s.pending, s.entries = nil, 0
	return batch
}

func (s *Session) index(batch []index.Contents) error {
	if len(batch) == 0 {
		return nil
	}
	part := index.NewPart(batch)
	segment, n, err := s.v.putSegment(s.ctx, s.id, part)
	if err != nil {
		return err
	}
	s.uploaded.Add(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.know(segment)
	for _, e := range part.Entries {
		delete(s.fresh, e.ID)
	}
	return nil
}

// flush makes everything written so far durable and indexed: packs, then index.
func (s *Session) flush() error {
	s.data.seal()
	s.meta.seal()
	s.uploads.Wait()
	if err := context.Cause(s.ctx); err != nil {
		return err
	}
	s.mu.Lock()
	batch := s.take()
	s.mu.Unlock()
	if err := s.index(batch); err != nil {
		s.fail(err)
		return err
	}
	return nil
}

func (v *Vault) exists(ctx context.Context, name string) (bool, error) {
	_, err := v.st.Stat(ctx, name)
	if errors.Is(err, blob.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func lost(gone bool) error {
	if gone {
		return ErrSessionLost
	}
	return nil
}
