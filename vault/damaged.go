package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"holdfast/vault/blob"
	"holdfast/vault/pack"
)

// damagedPrefix and the rest of a pack's name say that the pack was found damaged:
// an empty blob, for all writers to see. Like a tombstone it is not sealed. Whoever
// can write to the site can distrust a pack as he can remove it; all it does is
// that chunks are stored again.
const damagedPrefix = "damaged/"

// MarkDamaged says that a pack was found damaged. No later session relies on it,
// so that what lies in it is stored again; readers still take from it what proves
// itself. It may be repeated.
func (v *Vault) MarkDamaged(ctx context.Context, name string) error {
	if _, err := pack.ParseName(name); err != nil {
		return fmt.Errorf("mark as damaged: %w", err)
	}
	err := v.st.PutNew(ctx, damagedPrefix+strings.TrimPrefix(name, pack.Prefix), nil)
	if err != nil && !errors.Is(err, blob.ErrExists) {
		return fmt.Errorf("mark as damaged: %w", err)
	}
	return nil
}

// distrusted lists the packs that were found damaged.
func (v *Vault) distrusted(ctx context.Context) (map[string]bool, error) {
	names := map[string]bool{}
	for info, err := range v.st.List(ctx, damagedPrefix) {
		if err != nil {
			return nil, fmt.Errorf("list damaged packs: %w", err)
		}
		names[pack.Prefix+strings.TrimPrefix(info.Name, damagedPrefix)] = true
	}
	return names, nil
}

// forgetDamaged removes the marks of packs that are gone.
func (v *Vault) forgetDamaged(ctx context.Context) error {
	marked, err := v.distrusted(ctx)
	if err != nil || len(marked) == 0 {
		return err
	}
	for info, err := range v.st.List(ctx, pack.Prefix) {
		if err != nil {
			return fmt.Errorf("list packs: %w", err)
		}
		delete(marked, info.Name)
	}
	for name := range marked {
		if err := v.st.Delete(ctx, damagedPrefix+strings.TrimPrefix(name, pack.Prefix)); err != nil {
			return fmt.Errorf("forget a damaged pack: %w", err)
		}
	}
	return nil
}
