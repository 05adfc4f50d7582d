package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"holdfast/vault/blob"
	"holdfast/vault/keys"
	"holdfast/vault/manifest"
	"holdfast/vault/pack"
)

// So many blobs are tried to prove whose vault it is.
const proofs = 16

// ErrForeign says that nothing in a storage opens with the account's ring.
var ErrForeign = errors.New("another account's vault, or nothing of it can be read")

// HealEntrance puts back what a vault is opened by, vault.json and the keys, as
// another vault of the account has them. unlock opens the keys of a storage with
// what the caller holds. It returns the names of what it put. A storage in which
// there are backups or packs and none opens with the other's ring is ErrForeign.
func HealEntrance(ctx context.Context, st, from blob.Storage, unlock func(context.Context, blob.Storage) (keys.Ring, error)) ([]string, error) {
	healed, err := healEntrance(ctx, st, from, unlock)
	if err != nil {
		return healed, fmt.Errorf("heal the vault's entrance: %w", err)
	}
	return healed, nil
}

func healEntrance(ctx context.Context, st, from blob.Storage, unlock func(context.Context, blob.Storage) (keys.Ring, error)) (healed []string, err error) {
	ring, err := unlock(ctx, from)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	data, err := from.Get(ctx, paramsName, maxParams)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	params, err := decodeParams(data, ring) // proves its MAC
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	old, err := st.Get(ctx, paramsName, maxParams)
	if err != nil && !damage(err) {
		return nil, err
	}
	_, perr := decodeParams(old, ring)
	_, kerr := unlock(ctx, st)
	if kerr != nil && !damage(kerr) && !errors.Is(kerr, keys.ErrWrongKey) && !errors.Is(kerr, ErrFormat) && !errors.Is(kerr, ErrNoVault) {
		return nil, kerr
	}
	if perr == nil && kerr == nil {
		return nil, nil
	}
	if err := own(ctx, st, ring, params); err != nil {
		return nil, err
	}
	if kerr != nil {
		if healed, err = healKeys(ctx, st, from); err != nil {
			return healed, err
		}
		if _, err := unlock(ctx, st); err != nil {
			return healed, err
		}
	}
	if perr == nil {
		return healed, nil
	}
	if err := st.Delete(ctx, paramsName); err != nil { // if it is there, it opens nothing
		return healed, err
	}
	if err := st.PutNew(ctx, paramsName, data); err != nil && !errors.Is(err, blob.ErrExists) {
		return healed, err
	}
	return append(healed, paramsName), nil
}

// own proves that a storage holds the ring's vault, in chunks as the parameters
// say, or nothing that says otherwise.
func own(ctx context.Context, st blob.Storage, ring keys.Ring, params Params) error {
	v, err := newVault(st, ring, params, nil)
	if err != nil {
		return err
	}
	tried := 0
	for info, err := range st.List(ctx, pack.Prefix) {
		if err != nil {
			return err
		}
		if tried++; tried > proofs {
			break
		}
		if _, _, err := pack.ReadTOC(ctx, st, ring, info.Name, info.Size, v.maxPlain()); err == nil {
			return nil
		} else if !damage(err) {
			return err
		}
	}
	for info, err := range st.List(ctx, manifest.Prefix) {
		if err != nil {
			return err
		}
		if tried++; tried > 2*proofs {
			break
		}
		if _, err := v.openManifest(ctx, strings.TrimPrefix(info.Name, manifest.Prefix)); err == nil {
			return nil
		} else if !damage(err) && !errors.Is(err, ErrNoBackup) {
			return err
		}
	}
	if tried > 0 {
		return ErrForeign
	}
	return nil
}

// healKeys puts the other vault's last keys behind those that are there: the
// highest counts.
func healKeys(ctx context.Context, st, from blob.Storage) (healed []string, err error) {
	for _, prefix := range []string{accountKeys, ringKeys} {
		last, err := lastName(ctx, from, prefix)
		if err != nil {
			return healed, err
		}
		if last == "" {
			continue // a vault that only a kit opens
		}
		data, err := from.Get(ctx, last, maxKeyBlob)
		if err != nil {
			return healed, err
		}
		there, err := lastName(ctx, st, prefix)
		if err != nil {
			return healed, err
		}
		if old, err := st.Get(ctx, there, maxKeyBlob); there != "" && err == nil && string(old) == string(data) {
			continue
		} else if there != "" && err != nil && !damage(err) {
			return healed, err
		}
		n, _ := planNumber(strings.TrimPrefix(there, prefix))
		name := fmt.Sprintf("%s%08d", prefix, n+1)
		if err := st.PutNew(ctx, name, data); err != nil && !errors.Is(err, blob.ErrExists) {
			return healed, err
		}
		healed = append(healed, name)
	}
	return healed, nil
}

func lastName(ctx context.Context, st blob.Storage, prefix string) (last string, err error) {
	for info, err := range st.List(ctx, prefix) {
		if err != nil {
			return "", err
		}
		last = max(last, info.Name)
	}
	return last, nil
}
