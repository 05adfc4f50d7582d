package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"holdfast/vault/blob"
	"holdfast/vault/index"
	"holdfast/vault/pack"
	"holdfast/vault/seal"
)

// What is read at once of a pack that is rewritten.
const rewriteRun = 4 << 20

// rewriter copies what is needed of condemned packs into new ones. A chunk is
// not copied if it was before, or if another pack has it and was just seen to
// give it back whole.
type rewriter struct {
	v      *Vault
	s      *Session
	known  *Inspection
	gone   map[string]bool // condemned, or found damaged
	sc     *scratch
	copied int64
	buf    []byte
}

// rewrite returns the names of the packs of which everything needed has another
// place now, durable and in the index.
func (v *Vault) rewrite(ctx context.Context, p *CollectionPlan, o CollectOptions) (saved map[string]bool, copied int64, err error) {
	saved = map[string]bool{}
	total, _ := p.Rewrites()
	if total == 0 {
		return saved, 0, nil
	}
	in, err := v.inspect(ctx, (*index.Segment).CopiedPart)
	if err != nil {
		return nil, 0, err
	}
	id := collectSession + number(p.Number)
	s, err := v.newSession(ctx, id, func(p pack.Info) bool { return p.Session == id && !in.damaged[p.Name()] })
	if err != nil {
		return nil, 0, err
	}
	defer s.uploads.Wait()
	defer s.cancel(nil)
	sc, err := v.borrow()
	if err != nil {
		return nil, 0, err
	}
	defer v.scratch.Put(sc)
	r := &rewriter{v: v, s: s, sc: sc, known: in, gone: maps.Clone(in.damaged)}
	for _, c := range p.Condemned {
		r.gone[c.Name] = true
	}
	for _, c := range p.Condemned {
		if len(c.Keep) == 0 {
			continue
		}
		whole, err := r.pack(s.ctx, c)
		if err == nil && whole {
			saved[c.Name] = true
			o.Progress("rewrite packs", len(saved), total)
		}
		if err != nil {
			return full(saved, r.copied, err)
		}
	}
	if err := s.flush(); err != nil {
		return full(saved, r.copied, err)
	}
	return saved, r.copied, nil
}

// full lets a collection go on without rewriting where there is no room for it:
// what goes without being copied makes some.
func full(saved map[string]bool, copied int64, err error) (map[string]bool, int64, error) {
	if errors.Is(err, blob.ErrNoSpace) {
		return map[string]bool{}, 0, nil
	}
	return saved, copied, err
}

// pack saves one pack's needed chunks. A pack that cannot be read whole is not
// saved, and stays for repair.
func (r *rewriter) pack(ctx context.Context, c Condemned) (bool, error) {
	info, err := pack.ParseName(c.Name)
	if err != nil {
		return false, err
	}
	if err := context.Cause(ctx); err != nil {
		return false, err
	}
	info, entries, err := pack.ReadTOC(ctx, r.v.st, r.v.ring, info.Name(), c.Size, r.v.maxPlain())
	if err == nil {
		err = r.entries(ctx, info, c, entries)
	}
	if cause := context.Cause(ctx); cause != nil {
		return false, cause
	}
	if damage(err) {
		return false, nil
	}
	return err == nil, err
}

func (r *rewriter) entries(ctx context.Context, info pack.Info, c Condemned, entries []pack.Entry) error {
	var run []pack.Entry
	var size int64
	for _, e := range entries {
		if !c.keeps(e.Ordinal) {
			continue
		}
		if ok, err := r.elsewhere(ctx, e); err != nil {
			return err
		} else if ok {
			continue
		}
		last := len(run) - 1
		if last >= 0 && (run[last].Ordinal+1 != e.Ordinal || size+int64(e.Sealed) > rewriteRun) {
			if err := r.copy(ctx, info, run); err != nil {
				return err
			}
			run, size = run[:0], 0
		}
		run, size = append(run, e), size+int64(e.Sealed)
	}
	return r.copy(ctx, info, run)
}

// elsewhere reports whether a chunk has a place that stays.
func (r *rewriter) elsewhere(ctx context.Context, e pack.Entry) (bool, error) {
	if ok, err := r.s.has(e.ID); err != nil || ok {
		return ok, err
	}
	for info, at := range r.known.all(e.ID) {
		if at.Kind != e.Kind || r.gone[info.Name()] {
			continue
		}
		_, err := r.v.fetchAt(ctx, info, at, r.sc)
		if err == nil {
			return true, nil
		}
		if !damage(err) {
			return false, err
		}
	}
	return false, nil
}

// copy proves a run of neighbours and seals them anew, as they were compressed.
func (r *rewriter) copy(ctx context.Context, info pack.Info, run []pack.Entry) error {
	if len(run) == 0 {
		return nil
	}
	last := run[len(run)-1]
	off := int64(run[0].Offset)
	n := int(int64(last.Offset) + int64(last.Sealed) - off)
	if cap(r.buf) < n {
		r.buf = make([]byte, max(n, rewriteRun))
	}
	buf := r.buf[:n]
	if err := r.v.st.ReadAt(ctx, info.Name(), buf, off); err != nil {
		return err
	}
	for _, e := range run {
		sealed := buf[int64(e.Offset)-off:][:e.Sealed]
		if _, err := r.v.unseal(info, e, sealed, r.sc); err != nil { // opens in place
			return err
		}
		if mine, err := r.s.claim(e.ID); err != nil {
			return err
		} else if !mine {
			continue
		}
		to := r.s.data
		if info.Class == pack.Meta {
			to = r.s.meta
		}
		if err := to.add(e.Kind, e.ID, e.Codec, sealed[:len(sealed)-seal.Overhead], int(e.Plain)); err != nil {
			r.s.fail(err)
			return fmt.Errorf("rewrite %s: %w", info.Name(), err)
		}
		r.copied += int64(e.Sealed)
	}
	return nil
}
