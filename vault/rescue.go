package vault

import (
	"context"
	"fmt"

	"holdfast/vault/blob"
	"holdfast/vault/index"
	"holdfast/vault/pack"
	"holdfast/vault/seal"
)

// packKey stands for the name of a pack where there are very many: the first half
// of its hash.
type packKey [16]byte

func keyOf(name string) packKey {
	id := seal.NameID(name)
	return packKey(id[:])
}

// rescue reads the tables of contents of the packs that no segment covers, so
// that a lost or damaged segment loses no data.
func (v *Vault) rescue(ctx context.Context) error {
	v.refreshing.Lock()
	defer v.refreshing.Unlock()
	contents, _, err := v.uncovered(ctx, pack.Prefix, v.current())
	if err != nil || len(contents) == 0 {
		return err
	}
	part := index.NewPart(contents)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.rescued != nil {
		part = index.Join(v.rescued, part)
	}
	v.rescued = part
	v.rebuild()
	return nil
}

// uncovered returns what lies in the packs below a prefix that the set does not
// know, and the bytes of all packs there. A pack whose table of contents cannot
// be read is left out.
func (v *Vault) uncovered(ctx context.Context, prefix string, set *index.Set) ([]index.Contents, int64, error) {
	var stored []blob.Info
	var total int64
	for info, err := range v.st.List(ctx, prefix) {
		if err != nil {
			return nil, 0, fmt.Errorf("list packs: %w", err)
		}
		total += info.Size
		stored = append(stored, info)
	}
	if len(stored) == 0 {
		return nil, 0, nil
	}
	known, err := v.packsOf(ctx, set)
	if err != nil {
		return nil, 0, err
	}
	var contents []index.Contents
	for _, info := range stored {
		if known[keyOf(info.Name)] {
			continue
		}
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

// packsOf are the packs that a set knows. A segment that proves damaged is
// discarded, and covers nothing.
func (v *Vault) packsOf(ctx context.Context, set *index.Set) (map[packKey]bool, error) {
	known := map[packKey]bool{}
	for p, err := range set.Packs(ctx) {
		if err == nil {
			known[keyOf(p.Name())] = true
			continue
		}
		if !damage(err) {
			return nil, fmt.Errorf("load index: %w", err)
		}
		v.discard(err)
	}
	return known, nil
}
