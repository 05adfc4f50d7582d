package matrix

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// revision is the commit under test, with a mark when the tree differs from it.
type revision string

func commit(t *testing.T) revision {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*").Output()
	if err != nil {
		t.Fatalf("git describe: %v", err)
	}
	return revision(strings.TrimSpace(string(out)))
}

func (r revision) hash() uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(r)) // never fails
	return h.Sum32()
}

// record is what has passed of a commit's matrix, kept in build/ from run to run.
type record struct {
	Commit revision           `json:"commit"`
	Passed map[string]float64 `json:"passed"` // seconds, by cell

	path string
	end  time.Time // of the slice
}

// openRecord finds the record of a commit. That of a tree that is no commit is
// never gone on with.
func openRecord(t *testing.T, c revision) *record {
	t.Helper()
	r := &record{Commit: c, path: filepath.Join("..", "..", "build", "matrix", string(c)+".json")}
	b, err := os.ReadFile(r.path)
	if err == nil && !strings.HasSuffix(string(c), "-dirty") {
		err = json.Unmarshal(b, r)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if r.Passed == nil {
		r.Passed = map[string]float64{}
	}
	if at, err := strconv.ParseInt(os.Getenv("HOLDFAST_SLICE_END"), 10, 64); err == nil {
		r.end = time.Unix(at, 0)
	}
	return r
}

func (r *record) late() bool { return !r.end.IsZero() && time.Now().After(r.end) }

// pass is kept before the next cell begins.
func (r *record) pass(t *testing.T, c cell, took time.Duration) {
	t.Helper()
	r.Passed[c.String()] = took.Seconds()
	b, err := json.Marshal(r)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(r.path), 0o755)
	}
	if err == nil {
		err = os.WriteFile(r.path+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(r.path+".new", r.path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// tell writes the summary: an event a row, a moment a column, seconds.
func (r *record) tell(t *testing.T, path string) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "# What happens to a VPS, and when\n\nEach cell is an event at a moment of a backup, on one driver: the backup around it, the next one and the one after that\nhold every byte of the disks, as a full read past all change tracking shows, and are incremental, or a repair where tracking\ncannot survive. `make test-full` runs all of them and writes this page; a change runs every cell on `sim`, and on QEMU a fixed\ncore and a share that its commit chooses. → [test/matrix](../test/matrix)\n\nCommit `%s`, %d cells, all passed.\n", r.Commit, len(r.Passed))
	for _, driver := range []string{"sim", "qemu"} {
		if labs[driver] == nil {
			continue
		}
		total := 0.0
		fmt.Fprintf(&b, "\n## %s\n\nSeconds.\n\n| event | %s |\n|---%s|\n", driver, strings.Join(moments, " | "), strings.Repeat("|---", len(moments)))
		for _, e := range events {
			fmt.Fprintf(&b, "| %s |", e.name)
			for _, m := range moments {
				took := r.Passed[cell{e, m, driver}.String()]
				total += took
				fmt.Fprintf(&b, " %.1f |", took)
			}
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "\nTogether %.0f s.\n", total)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil { //nolint:gosec // a document
		t.Fatal(err)
	}
}
