package index

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"holdfast/vault/seal"
)

// Cache is a directory of this machine with copies of a vault's segments. They are
// copies of what is stored, sealed as it is, and proved as it is, so they hold no
// secret and may be lost or damaged at any time; beside each lies a filter over
// its ids, under a checksum. Several processes may share the directory, but only
// for one vault at one place.
type Cache struct {
	dir   string
	limit int64
	used  atomic.Int64 // as far as is known here
}

const (
	copySuffix = ".idx"
	partSuffix = ".part"
)

// OpenCache opens a directory, making it if it does not exist. It is never filled
// over limit bytes.
func OpenCache(dir string, limit int64) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open index cache: %w", err)
	}
	return &Cache{dir: dir, limit: limit}, nil
}

// path is where the copy of a segment lies. Names come from the storage, so they
// are no file names.
func (c *Cache) path(name string) string {
	id := seal.NameID(name)
	return filepath.Join(c.dir, hex.EncodeToString(id[:16])+copySuffix)
}

// Keep removes the copies of all segments but those named, as far as it can. Another
// process may have added one since they were listed: it will do so again.
func (c *Cache) Keep(names []string) {
	keep := map[string]bool{}
	for _, n := range names {
		path := c.path(n)
		keep[path], keep[path+partSuffix] = true, true
	}
	files, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	var used int64
	for _, f := range files {
		path := filepath.Join(c.dir, f.Name())
		if !keep[path] && strings.HasSuffix(strings.TrimSuffix(path, partSuffix), copySuffix) && os.Remove(path) == nil {
			continue
		}
		if info, err := f.Info(); err == nil {
			used += info.Size()
		}
	}
	c.used.Store(used)
}

// find returns the copy of a segment, which may prove to be none, or nil.
func (c *Cache) find(src Source) *copied {
	if c == nil {
		return nil
	}
	path := c.path(src.Name)
	if _, err := os.Lstat(path); err != nil {
		return nil
	}
	return &copied{path: path, cache: c}
}
