package vault

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"holdfast/vault/blob"
	"holdfast/vault/index"
	"holdfast/vault/pack"
	"holdfast/vault/seal"
)

func (v *Vault) current() *index.Set {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.set
}

// refresh loads the segments that are new and forgets those that are gone. A
// segment that cannot be read is left out: its packs are found by rescue.
func (v *Vault) refresh(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, err := v.refreshLocked(ctx)
	return err
}

// A listing during a merge may show the merged segments' names only; the one that
// replaced them was there before they went.
const maxListings = 5

func (v *Vault) refreshLocked(ctx context.Context) (damaged map[string]error, err error) {
	gone := true
	for i := 0; gone && i < maxListings; i++ {
		if damaged, gone, err = v.listSegments(ctx); err != nil {
			return nil, err
		}
	}
	v.rebuild()
	return damaged, nil
}

func (v *Vault) listSegments(ctx context.Context) (damaged map[string]error, gone bool, err error) {
	damaged = map[string]error{}
	present := map[string]*index.Part{}
	for info, err := range v.st.List(ctx, index.Prefix) {
		if err != nil {
			return nil, false, fmt.Errorf("list index: %w", err)
		}
		part, ok := v.segments[info.Name]
		if !ok {
			part, err = v.loadSegment(ctx, info.Name)
		}
		switch {
		case errors.Is(err, blob.ErrNotFound):
			gone = true // merged away since it was listed
		case err != nil && damage(err):
			damaged[info.Name] = err
		case err != nil:
			return nil, false, fmt.Errorf("load index: %w", err)
		default:
			present[info.Name] = part
		}
	}
	v.segments = present
	return damaged, gone, nil
}

func (v *Vault) rebuild() {
	parts := make([]*index.Part, 0, len(v.segments)+1)
	if v.rescued != nil {
		parts = append(parts, v.rescued)
	}
	for _, p := range v.segments {
		parts = append(parts, p)
	}
	v.set = index.NewSet(parts...)
}

func (v *Vault) loadSegment(ctx context.Context, name string) (*index.Part, error) {
	data, err := v.st.Get(ctx, name, index.MaxSegment)
	if err != nil {
		return nil, err
	}
	return index.Decode(v.ring, name, data, v.maxPlain())
}

// rescue reads the tables of contents of the packs that no segment covers, so
// that a lost or damaged segment loses no data.
func (v *Vault) rescue(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	contents, _, err := v.uncovered(ctx, pack.Prefix, v.set)
	if err != nil || len(contents) == 0 {
		return err
	}
	if v.rescued != nil {
		v.rescued = index.Join(v.rescued, index.NewPart(contents))
	} else {
		v.rescued = index.NewPart(contents)
	}
	v.rebuild()
	return nil
}

// uncovered returns what lies in the packs below a prefix that the set does not
// know, and the bytes of all packs there. A pack whose table of contents cannot
// be read is left out.
func (v *Vault) uncovered(ctx context.Context, prefix string, set *index.Set) ([]index.Contents, int64, error) {
	known := map[string]bool{}
	for p := range set.Packs {
		known[p.Name()] = true
	}
	var found []blob.Info
	var total int64
	for info, err := range v.st.List(ctx, prefix) {
		if err != nil {
			return nil, 0, fmt.Errorf("list packs: %w", err)
		}
		total += info.Size
		if !known[info.Name] {
			found = append(found, info)
		}
	}
	var contents []index.Contents
	for _, info := range found {
		p, entries, err := pack.ReadTOC(ctx, v.st, v.ring, info.Name, info.Size, v.maxPlain())
		if err != nil && !damage(err) {
			return nil, 0, err
		}
		if err == nil {
			contents = append(contents, index.Contents{Info: p, Entries: entries})
		}
	}
	return contents, total, nil
}

// putSegment seals a part as a new segment and returns its size in bytes.
func (v *Vault) putSegment(ctx context.Context, session string, part *index.Part) (int64, error) {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	name := index.Prefix + session + "/" + hex.EncodeToString(id[:])
	data, err := index.Encode(v.ring, seal.NewHeader(seal.Index, v.ring.Current()), name, part)
	if err != nil {
		return 0, fmt.Errorf("put index: %w", err)
	}
	if err := v.st.PutNew(ctx, name, data); err != nil {
		return 0, fmt.Errorf("put index: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.segments[name] = part
	v.set = v.set.With(part)
	return int64(len(data)), nil
}
