package crash

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/internal/vmtest"
)

// nothingLeft waits until everything that there is belongs to the service or to
// a machine, and to no operation: no process, socket, bitmap, node, scratch file,
// file of a point in time, or session of a vault.
func (w *stepped) nothingLeft(t *testing.T) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		left = append(w.strayProcesses(t), append(w.strayFiles(t), w.strayMarks(t)...)...)
		if len(left) == 0 {
			left = w.strayNodes(t) // asks the monitor: only when all is quiet
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left behind: %s\n%s", strings.Join(left, "\n"), w.Log(t))
		}
	}
}

// machines are the VPSs that are not terminated, with whether they run.
func (w *stepped) running(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, m := range w.Machines(t) {
		if m.ServiceStatus != "terminated" {
			all[m.ID] = m.PowerState == "running"
		}
	}
	return all
}

// strayProcesses are those that are neither the service nor the QEMU of a
// machine that runs.
func (w *stepped) strayProcesses(t *testing.T) (left []string) {
	t.Helper()
	all, err := vmtest.Strays(w.Dir)
	if err != nil {
		t.Fatal(err)
	}
	quiet := w.running(t)
	for _, p := range all {
		if p.PID == w.PID() {
			continue
		}
		_, after, found := strings.Cut(p.Cmdline, "-name guest=")
		id, _, _ := strings.Cut(after, " ")
		if strings.HasPrefix(p.Cmdline, "qemu-system") && found && quiet[id] {
			delete(quiet, id) // one each
			continue
		}
		left = append(left, p.String())
	}
	for id, runs := range quiet {
		if runs {
			left = append(left, id+" is said to run, and has no process")
		}
	}
	return left
}

// strayFiles are those of points in time, of machines that are not there or half
// there, of processes that are gone, and sockets that nobody listens on.
func (w *stepped) strayFiles(t *testing.T) (left []string) {
	t.Helper()
	running := w.running(t)
	for _, dir := range []string{"run", "scratch", "machines"} {
		root := filepath.Join(w.Dir, dir)
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil
			}
			if err != nil || path == root {
				return err
			}
			name, _ := filepath.Rel(root, path) // below it
			if why := stray(dir, name, running); why != "" {
				left = append(left, fmt.Sprintf("%s: %s", path, why))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return left
}

// stray says why a file should not be there, or "".
func stray(dir, name string, running map[string]bool) string {
	id, rest, _ := strings.Cut(filepath.ToSlash(name), "/")
	if lock, ok := strings.CutSuffix(id, ".lock"); ok && dir == "machines" {
		id = strings.TrimPrefix(lock, ".")
	}
	runs, known := running[id]
	base := filepath.Base(name)
	switch {
	case !known:
		return "of no machine"
	case dir == "scratch":
		return "of no point in time"
	case dir == "run" && rest == "":
		return ""
	case dir == "run" && (!runs || base != "qmp" && base != "dog" && base != "agent"):
		return "a socket of nobody"
	case dir == "machines" && (base == "point.json" || base == "point.pid.json" || strings.HasPrefix(base, "fill-") || strings.HasSuffix(base, ".new") || strings.HasSuffix(base, ".tmp")):
		return "of no operation"
	case base == "qemu.pid.json" && !runs:
		return "of a process that is gone"
	}
	return ""
}

// strayMarks are sessions in the vaults that have not ended. One that was given
// up waits for a collector.
func (w *stepped) strayMarks(t *testing.T) (left []string) {
	t.Helper()
	for _, site := range []string{w.Site(), w.cellar} {
		vault := filepath.Join(site, w.owner.ID)
		marks, err := filepath.Glob(filepath.Join(vault, "sessions", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range marks {
			if _, err := os.Stat(filepath.Join(vault, "notices", filepath.Base(m))); err != nil {
				left = append(left, m)
			}
		}
	}
	return left
}

// strayNodes are what a point in time adds to a hypervisor, and bitmaps beyond
// the one of each disk.
func (w *stepped) strayNodes(t *testing.T) (left []string) {
	t.Helper()
	for id, runs := range w.running(t) {
		if !runs {
			left = append(left, w.strayBitmaps(t, id)...)
			continue
		}
		m := w.Monitor(t, id)
		var nodes []struct {
			Name    string                  `json:"node-name"`
			Bitmaps []struct{ Name string } `json:"dirty-bitmaps"`
		}
		if err := m.Execute(t.Context(), "query-named-block-nodes", map[string]any{"flat": true}, &nodes); err != nil {
			t.Fatal(err)
		}
		if limit := m.WriteLimit(t); limit != 0 {
			left = append(left, fmt.Sprintf("%s: its writes are limited to %d bytes per second", id, limit))
		}
		_ = m.Close() // never fails
		for _, n := range nodes {
			if strings.HasPrefix(n.Name, "hf") || len(n.Bitmaps) > 1 {
				left = append(left, fmt.Sprintf("%s: node %s with %d bitmaps", id, n.Name, len(n.Bitmaps)))
			}
		}
	}
	return left
}

func (w *stepped) strayBitmaps(t *testing.T, id string) (left []string) {
	t.Helper()
	layers, err := filepath.Glob(filepath.Join(filepath.Dir(w.DiskFile(id, disk0)), disk0+"*.qcow2"))
	if err != nil || len(layers) == 0 {
		t.Fatalf("%s has no disk: %v", id, err)
	}
	for _, path := range layers {
		text, err := exec.CommandContext(t.Context(), "qemu-img", "info", "-U", "--output=json", path).Output() // #nosec G204 -- our own file
		if err != nil {
			t.Fatal(err)
		}
		var v struct {
			Specific struct {
				Data struct{ Bitmaps []struct{ Name string } }
			} `json:"format-specific"`
		}
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		if n := len(v.Specific.Data.Bitmaps); n > 1 {
			left = append(left, fmt.Sprintf("%s: %d bitmaps: %v", path, n, v.Specific.Data.Bitmaps))
		}
	}
	return left
}
