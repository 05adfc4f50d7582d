package blob_test

import (
	"path"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/vault/blob"
)

// Names come from listings, plans and callers: one that is allowed stays in its
// directory on any system, and means one thing.
func FuzzCheckName(f *testing.F) {
	for _, s := range []string{"a", "packs/s-1/d0.x_y", "../x", "a//b", "a/./b", ".tmp/x", "A", "a\x00", strings.Repeat("a", blob.MaxName+1)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if blob.CheckName(name) != nil {
			return
		}
		if path.Clean(name) != name || !filepath.IsLocal(filepath.FromSlash(name)) || strings.HasPrefix(path.Base(name), ".") ||
			strings.ToLower(name) != name || len(name) > blob.MaxName {
			t.Errorf("%q is allowed", name)
		}
	})
}
