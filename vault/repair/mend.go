package repair

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"holdfast/vault"
	"holdfast/vault/check"
	"holdfast/vault/chunk"
)

const defaultWorkers = 4

// mender walks all trees and puts back what it meets that is lost.
type mender struct {
	v       *vault.Vault
	o       Options
	in      *vault.Inspection
	sources []*vault.Inspection
	h       *vault.Healing
	r       *Report
	at      check.Node // that is loaded next
	disks   disks

	mu    sync.Mutex
	tried map[chunk.ID]error // what was asked of the vaults: why none gives it, if none does
	again bool               // something was put back that another place may have missed
}

func newMender(ctx context.Context, v *vault.Vault, o Options, r *Report) (*mender, error) {
	m := &mender{v: v, o: o, r: r, tried: map[chunk.ID]error{}}
	m.disks = disks{all: o.Disks, cs: int64(v.Params().ChunkSize), memo: map[subtree]summary{}}
	var err error
	if m.in, err = v.Inspect(ctx); err != nil {
		return nil, err
	}
	for i, src := range o.Sources {
		in, err := src.Inspect(ctx)
		if err != nil {
			return nil, fmt.Errorf("source %d: %w", i+1, err)
		}
		m.sources = append(m.sources, in)
	}
	return m, nil
}

// run first fetches in parallel, from other vaults, and then sees what is left, and
// whether a disk has it. What one place on a disk gave may heal another, so it
// looks again as long as there is progress.
func (m *mender) run(ctx context.Context) error {
	all, missing, err := m.manifests(ctx)
	if err != nil {
		return err
	}
	if err := m.fetchAll(ctx, all); err != nil {
		return err
	}
	for {
		m.again = false
		s := m.survey(m.chunk)
		for _, b := range all {
			for _, im := range b.Images {
				if err := s.Image(ctx, b.Backup, im); err != nil {
					return err
				}
			}
		}
		m.r.Remaining, m.r.More = slices.Concat(missing, s.Damages), s.More
		if !m.again || len(s.Damages) == 0 {
			return nil
		}
	}
}

func (m *mender) survey(chunk func(context.Context, check.Place, chunk.ID) error) *check.Survey {
	return &check.Survey{ChunkSize: m.v.Params().ChunkSize, Nodes: m, Chunk: chunk, Damages: []check.Damage{},
		Enter: func(at check.Node) { m.at = at }}
}

// fetchAll asks the vaults for all chunks that are lost.
func (m *mender) fetchAll(ctx context.Context, all []vault.Manifest) error {
	workers := m.o.Workers
	if workers <= 0 {
		workers = defaultWorkers
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	s := m.survey(func(_ context.Context, at check.Place, id chunk.ID) error {
		if _, ok, err := m.h.Has(id); err != nil || ok || !m.first(id) {
			return err
		}
		g.Go(func() error { return m.fetchChunk(gctx, at, id) })
		return gctx.Err()
	})
	for _, b := range all {
		for _, im := range b.Images {
			if err := s.Image(gctx, b.Backup, im); err != nil {
				if werr := g.Wait(); werr != nil {
					return werr
				}
				return err
			}
		}
	}
	return g.Wait()
}

// first reports whether nobody has tried to fetch the chunk.
func (m *mender) first(id chunk.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.tried[id]; ok {
		return false
	}
	m.tried[id] = vault.ErrMissing
	return true
}

func (m *mender) fetchChunk(ctx context.Context, at check.Place, id chunk.ID) error {
	plain, err := m.find(ctx, chunk.Data, id)
	if err == nil && int64(len(plain)) != at.Length {
		err = vault.ErrContent
	}
	if vault.Damage(err) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.tried[id] = err
		return nil
	}
	if err != nil {
		return err
	}
	return m.put(chunk.Data, id, plain, false)
}

// find looks for a chunk in this vault, where it may lie in a damaged pack, and in
// the sources. What none has is the damage here.
func (m *mender) find(ctx context.Context, kind chunk.Kind, id chunk.ID) ([]byte, error) {
	plain, err := m.in.Fetch(ctx, kind, id)
	if err == nil || !vault.Damage(err) {
		return plain, err
	}
	for i, src := range m.sources {
		plain, serr := src.Fetch(ctx, kind, id)
		if serr == nil {
			return plain, nil
		}
		if !vault.Damage(serr) {
			return nil, fmt.Errorf("source %d: %w", i+1, serr)
		}
	}
	return nil, err
}

func (m *mender) put(kind chunk.Kind, id chunk.ID, plain []byte, disk bool) error {
	if err := m.h.Put(kind, id, plain); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.again = true
	m.r.Healed.Bytes += int64(len(plain))
	if kind == chunk.Node {
		m.r.Healed.Nodes++
	} else {
		m.r.Healed.Chunks++
	}
	if disk {
		m.r.Healed.FromDisks++
	}
	m.o.Progress("repair", int64(m.r.Healed.Chunks), 0)
	return nil
}

// chunk says whether a chunk is lost after all, or in its place on a live disk.
func (m *mender) chunk(_ context.Context, at check.Place, id chunk.ID) error {
	plain, ok, err := m.h.Has(id)
	if err != nil {
		return err
	}
	if ok {
		if plain != 0 && plain != at.Length {
			return vault.ErrContent
		}
		return nil
	}
	if plain, ok := m.disks.chunk(at); ok && m.matches(chunk.Data, id, plain) {
		return m.put(chunk.Data, id, plain, true)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.tried[id]; err != nil {
		return err
	}
	return vault.ErrMissing
}

// LoadNode implements check.Nodes: a node that is lost here is put back.
func (m *mender) LoadNode(ctx context.Context, id chunk.ID) ([]byte, error) {
	data, err := m.find(ctx, chunk.Node, id)
	if err != nil && !vault.Damage(err) {
		return nil, err
	}
	_, ok, herr := m.h.Has(id)
	if herr != nil {
		return nil, herr
	}
	if ok && err == nil {
		return data, nil
	}
	disk := false
	if err != nil {
		var ok bool
		if data, ok = m.disks.node(m.at, m.h.Sum); !ok || !m.matches(chunk.Node, id, data) {
			return nil, err
		}
		disk = true
	}
	if _, ok, err := m.h.Has(id); err != nil || ok {
		return data, err // put before, from the disk
	}
	return data, m.put(chunk.Node, id, data, disk)
}

func (m *mender) matches(kind chunk.Kind, id chunk.ID, plain []byte) bool {
	sum, err := m.h.Sum(kind, plain)
	return err == nil && sum == id
}
