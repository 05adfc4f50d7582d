package main

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"

	"holdfast"
	"holdfast/vault"
)

// indexCache keeps copies of a vault's index below the data directory: one
// directory for each account and place. They may be deleted at any time.
func (in *installation) indexCache(account holdfast.AccountID, place string) vault.Option {
	id := sha256.Sum256([]byte(place))
	return vault.WithIndexCache(filepath.Join(in.config.Data, "cache", "index", string(account), hex.EncodeToString(id[:8])))
}
