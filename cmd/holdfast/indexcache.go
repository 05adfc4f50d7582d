package main

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"

	"holdfast"
	"holdfast/vault"
)

// indexCache keeps copies of the index of an account's vault, at the place of its
// backups, below the data directory. They may be deleted at any time.
func (in *installation) indexCache(account holdfast.AccountID) vault.Option {
	return in.indexCacheAt(account, in.sites[0])
}

// indexCacheAt is indexCache for any place.
func (in *installation) indexCacheAt(account holdfast.AccountID, s *site) vault.Option {
	id := sha256.Sum256([]byte(s.vault(account))) // another place's index is another
	return vault.WithIndexCache(filepath.Join(in.config.Data, "cache", "index", string(account), hex.EncodeToString(id[:8])))
}
