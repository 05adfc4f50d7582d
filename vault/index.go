package vault

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"holdfast/vault/blob"
	"holdfast/vault/index"
	"holdfast/vault/seal"
)

const (
	// Blocks of segments that were used last are kept, up to so many bytes.
	indexBlocks = 8 << 20
	// Segments are opened, or filled, so many at a time.
	openAtOnce = 8
	fillAtOnce = 2
	// Without a cache directory a filter over so many chunks is held in memory, two
	// bytes for each. Chunks beyond are looked up in the blocks themselves.
	filterEntries = 16 << 20
	// A listing during a merge may show the merged segments' names only; the one that
	// replaced them was there before they went.
	maxListings = 5
)

func (v *Vault) current() *index.Set {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.set
}

// refresh opens the segments that are new and forgets those that are gone. A
// segment that cannot be read is left out: its packs are found by rescue.
func (v *Vault) refresh(ctx context.Context) error {
	_, err := v.refreshed(ctx)
	return err
}

func (v *Vault) refreshed(ctx context.Context) (damaged map[string]error, err error) {
	v.refreshing.Lock()
	defer v.refreshing.Unlock()
	gone := true
	for i := 0; gone && i < maxListings; i++ {
		if damaged, gone, err = v.listSegments(ctx); err != nil {
			return nil, err
		}
	}
	return damaged, nil
}

// listSegments makes the listed segments the index. gone says that one was merged
// away before it was opened.
func (v *Vault) listSegments(ctx context.Context) (damaged map[string]error, gone bool, err error) {
	sizes := map[string]int64{}
	for info, err := range v.st.List(ctx, index.Prefix) {
		if err != nil {
			return nil, false, fmt.Errorf("list index: %w", err)
		}
		sizes[info.Name] = info.Size
	}
	v.mu.Lock()
	known := maps.Clone(v.segments)
	v.mu.Unlock()
	o := opening{v: v, present: map[string]*index.Segment{}, damaged: map[string]error{}}
	for name := range sizes {
		if s, ok := known[name]; ok {
			o.present[name] = s
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(openAtOnce)
	for name, size := range sizes {
		if _, ok := known[name]; !ok {
			g.Go(func() error { return o.open(ctx, name, size) })
		}
	}
	if err := g.Wait(); err != nil {
		return nil, false, fmt.Errorf("load index: %w", err)
	}
	v.install(known, o.present)
	if v.cache != nil {
		v.cache.Keep(slices.Collect(maps.Keys(sizes)))
	}
	return o.damaged, o.gone, nil
}

// opening collects the segments that are opened side by side.
type opening struct {
	v *Vault

	mu      sync.Mutex
	present map[string]*index.Segment
	damaged map[string]error
	gone    bool
}

func (o *opening) open(ctx context.Context, name string, size int64) error {
	s, err := index.Open(ctx, o.v.source(name, size))
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case errors.Is(err, blob.ErrNotFound):
		o.gone = true // merged away since it was listed
	case err != nil && damage(err):
		o.damaged[name] = err
	case err != nil:
		return err
	default:
		o.present[name] = s
	}
	return nil
}

func (v *Vault) source(name string, size int64) index.Source {
	return index.Source{Keys: v.ring, Name: name, Size: size, MaxPlain: v.maxPlain(), Blocks: v.blocks, Cache: v.cache,
		Read: func(ctx context.Context, p []byte, off int64) error { return v.st.ReadAt(ctx, name, p, off) }}
}

// install makes the listed segments the index. What was put since known was taken
// stays.
func (v *Vault) install(known, present map[string]*index.Segment) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, s := range v.segments {
		if _, ok := known[name]; !ok {
			present[name] = s
		}
	}
	same := maps.Equal(v.segments, present)
	v.segments = present
	if !same {
		v.rebuild()
	}
}

// rebuild makes the set anew. v.mu is held.
func (v *Vault) rebuild() {
	members := make([]index.Lookup, 0, len(v.segments)+1)
	if v.rescued != nil {
		members = append(members, v.rescued)
	}
	for _, name := range slices.Sorted(maps.Keys(v.segments)) {
		members = append(members, v.segments[name])
	}
	v.set = index.NewSet(members...)
}

// discard gives up a segment that proved damaged when it was read, until it is
// listed again, so that rescue finds its packs. Other errors are left to the caller.
func (v *Vault) discard(err error) {
	bad, ok := errors.AsType[*index.SegmentError](err)
	if !ok || !damage(err) || errors.Is(err, blob.ErrNotFound) { // one that is gone was merged: a listing tells
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	name := bad.Segment.Name()
	if v.segments[name] != bad.Segment {
		return
	}
	delete(v.segments, name)
	v.rebuild()
}

// fill makes lookups of chunks that are not there cheap, as writers need it. It
// proves the segments that were not filled before.
func (v *Vault) fill(ctx context.Context) error {
	v.mu.Lock()
	segments := slices.Collect(maps.Values(v.segments))
	v.mu.Unlock()
	budget := filterEntries
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(fillAtOnce)
	for _, s := range segments {
		budget -= s.Len()
		memory := budget >= 0
		g.Go(func() error {
			err := s.Fill(gctx, memory)
			if err != nil && damage(err) {
				v.discard(&index.SegmentError{Segment: s, Err: err})
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("load index: %w", err)
	}
	return nil
}

// putSegment seals a part as a new segment, and returns it and its size in bytes.
func (v *Vault) putSegment(ctx context.Context, session string, part *index.Part) (*index.Segment, int64, error) {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	name := index.Prefix + session + "/" + hex.EncodeToString(id[:])
	data, err := index.Encode(v.ring, seal.NewHeader(seal.Index, v.ring.Current()), name, part)
	if err != nil {
		return nil, 0, fmt.Errorf("put index: %w", err)
	}
	if err := v.st.PutNew(ctx, name, data); err != nil {
		return nil, 0, fmt.Errorf("put index: %w", err)
	}
	s, err := index.OpenFrom(v.source(name, int64(len(data))), data)
	if err != nil {
		return nil, 0, fmt.Errorf("put index: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.segments[name] = s
	v.set = v.set.With(s)
	return s, int64(len(data)), nil
}
