package service

import (
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var builds sync.Map // tags -> *build

type build struct {
	once sync.Once
	path string
	err  error
	text []byte
}

// Build builds the binary of the checkout with build tags, once a process.
func Build(t testing.TB, tags ...string) string {
	t.Helper()
	key := strings.Join(tags, ",")
	v, _ := builds.LoadOrStore(key, &build{})
	b, _ := v.(*build)
	b.once.Do(func() {
		gomod, err := exec.Command("go", "env", "GOMOD").Output()
		if err != nil {
			b.err = err
			return
		}
		root := filepath.Dir(strings.TrimSpace(string(gomod)))
		b.path = filepath.Join(root, "build", "holdfast-test-"+strings.ReplaceAll(key, ",", "-"))
		cmd := exec.Command("go", "build", "-tags", key, "-o", b.path, "./cmd/holdfast") // #nosec G204 -- our own words
		cmd.Dir = root
		b.text, b.err = cmd.CombinedOutput()
	})
	if b.err != nil {
		t.Fatalf("build the service: %v\n%s", b.err, b.text)
	}
	return b.path
}
