package vault

import "holdfast/vault/index"

// Option is a choice of whoever opens a vault.
type Option func(*Vault) error

// A copy of the index of a vault of 10 TiB takes 2.2 GB.
const cacheLimit = 16 << 30

// WithIndexCache keeps copies of the index in a directory, so that writing to a
// large vault needs neither its index from the storage nor memory for it. The
// directory must be for this vault at this place alone; processes may share it. It
// holds no secret, is never filled over 16 GiB, and may be deleted at any time.
// Writers and collectors fill it, readers use it.
func WithIndexCache(dir string) Option {
	return func(v *Vault) (err error) {
		v.cache, err = index.OpenCache(dir, cacheLimit)
		return err
	}
}
