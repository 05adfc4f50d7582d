package vault

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"holdfast/vault/chunk"
	"holdfast/vault/pack"
)

// place is where a chunk to be written lies, and all the places of the disk it
// goes to.
type place struct {
	e  pack.Entry
	to []uint64
}

// run is what is read of one pack at once. A run without a name is a chunk the
// index does not know, left to the slow path.
type run struct {
	name   string
	info   pack.Info
	places []place
}

// plan sorts the collected chunks by their places into runs.
func (rs *restore) plan(ctx context.Context) ([]run, error) {
	type located struct {
		ref
		name string
		info pack.Info
		e    pack.Entry
	}
	all := make([]located, 0, len(rs.refs))
	for _, r := range rs.refs {
		l := located{ref: r}
		p, ok, err := rs.r.v.locate(ctx, chunk.Data, r.id)
		switch {
		case err != nil:
			return nil, fmt.Errorf("read image %s: %w", rs.r.im.Name, err)
		case ok:
			l.name, l.info, l.e = p.Pack.Name(), p.Pack, p.Entry
		default:
			l.e.ID = r.id
		}
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b located) int {
		return cmp.Or(strings.Compare(a.name, b.name), cmp.Compare(a.e.Offset, b.e.Offset), cmp.Compare(a.i, b.i))
	})
	var runs []run
	for _, l := range all {
		last := len(runs) - 1
		if last < 0 || !runs[last].extend(l.name, l.e, l.i) {
			runs = append(runs, run{name: l.name, info: l.info, places: []place{{l.e, []uint64{l.i}}}})
		}
	}
	return runs, nil
}

// extend adds a chunk to the run if it lies near enough.
func (r *run) extend(name string, e pack.Entry, i uint64) bool {
	if name == "" || name != r.name {
		return false
	}
	last := &r.places[len(r.places)-1]
	if last.e.ID == e.ID && last.e.Offset == e.Offset {
		last.to = append(last.to, i)
		return true
	}
	first, end := int64(r.places[0].e.Offset), int64(last.e.Offset)+int64(last.e.Sealed)
	gap, size := int64(e.Offset)-end, int64(e.Offset)+int64(e.Sealed)-first
	if gap < 0 || gap > gapBytes || size > runBytes {
		return false
	}
	r.places = append(r.places, place{e, []uint64{i}})
	return true
}

func (r *run) span() (off, n int64) {
	last := r.places[len(r.places)-1].e
	off = int64(r.places[0].e.Offset)
	return off, int64(last.Offset) + int64(last.Sealed) - off
}

func (rs *restore) work(ctx context.Context, next <-chan run) error {
	var buf []byte
	for r := range next {
		off, n := r.span()
		whole := false
		if r.name != "" && n <= pack.MaxSize {
			if int64(cap(buf)) < n {
				buf = make([]byte, max(n, runBytes))
			}
			whole = rs.r.v.st.ReadAt(ctx, r.name, buf[:n], off) == nil // else chunk by chunk, with its error
		}
		var data []byte
		if whole {
			data = buf[:n]
		}
		if err := rs.decode(ctx, r, data); err != nil {
			return err
		}
	}
	return nil
}

// decode opens a run and writes it out; data is nil for one that could not be
// read at once.
func (rs *restore) decode(ctx context.Context, r run, data []byte) error {
	select {
	case rs.decoders <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-rs.decoders }()
	s, err := rs.r.v.borrow()
	if err != nil {
		return err
	}
	defer rs.r.v.scratch.Put(s)
	off, _ := r.span()
	for _, p := range r.places {
		var sealed []byte
		if data != nil {
			at := int64(p.e.Offset) - off
			sealed = data[at : at+int64(p.e.Sealed)]
		}
		if err := rs.place(ctx, r.info, p, sealed, s); err != nil {
			return err
		}
	}
	return nil
}

// place opens one chunk and writes it wherever it belongs. What does not open
// from the run is fetched by itself, from any place the vault has for it.
func (rs *restore) place(ctx context.Context, info pack.Info, p place, sealed []byte, s *scratch) error {
	var plain []byte
	err := ErrMissing
	if sealed != nil {
		plain, err = rs.r.v.unseal(info, p.e, sealed, s)
	}
	if err != nil {
		plain, err = rs.r.v.fetch(ctx, chunk.Data, p.e.ID, s)
	}
	for _, i := range p.to {
		if err == nil && int64(len(plain)) != rs.r.length(i) {
			err = ErrContent
		}
		if err != nil {
			if err := rs.damaged(rs.r.blame(i, i+1, err)); err != nil {
				return err
			}
			continue
		}
		off := int64(i) * rs.r.cs //nolint:gosec // below MaxDisk
		if _, err := rs.w.WriteAt(plain, off); err != nil {
			return fmt.Errorf("write restored image at byte %d: %w", off, err)
		}
		rs.wrote(len(plain))
	}
	return nil
}
