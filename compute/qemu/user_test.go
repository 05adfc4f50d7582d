//go:build vm

package qemu

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/compute"
)

// TestUnprivileged runs everything as another user, if we may become one.
func TestUnprivileged(t *testing.T) {
	uid := os.Getuid()
	var user *User
	if uid == 0 {
		uid = 65534
		user = &User{UID: 65534, GID: 65534}
	}
	d := newDriver(t, func(c *Config) { c.User = user })
	if err := os.Chmod(filepath.Dir(d.cfg.Root), 0o711); err != nil { //nolint:gosec // passed through by the user
		t.Fatal(err)
	}
	m := machine(mib)
	define(t, d, m, true)
	p, _, err := d.running(m.ID)
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
	if err != nil || !strings.Contains(string(status), fmt.Sprintf("Uid:\t%d\t%d", uid, uid)) {
		t.Errorf("%v: %.300s", err, status)
	}
	for _, path := range []string{d.diskPath(m.ID, "disk0"), d.socket(m.ID, "")} {
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", path, fi.Mode(), err)
		}
	}
	guest(t, d, m.ID, "disk0", "write -P 1 0 64k")
	h := begin(t, d, m, "01a.1")
	var im image
	im.update(t, d, h, 0)
	end(t, d, h, compute.Committed)
	if err := d.Stop(t.Context(), m.ID, 0); err != nil {
		t.Fatal(err)
	}
	h = begin(t, d, m, "01b.1", "01a.1")
	if h.Disks[0].Parent != "01a.1" {
		t.Errorf("%+v", h.Disks)
	}
	im.update(t, d, h, 0)
	if im.data[0] != 1 || im.read != 0 {
		t.Errorf("%d, %d bytes read", im.data[0], im.read)
	}
	end(t, d, h, compute.Committed)
	if _, err := d.Snapshot(t.Context(), m.ID, "a"); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context(), m.ID); err != nil {
		t.Fatal(err)
	}
	guest(t, d, m.ID, "disk0", "write -P 2 0 64k")
	if err := d.RemoveSnapshot(t.Context(), m.ID, "a", nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(t.Context(), m.ID, 0); err != nil {
		t.Fatal(err)
	}
	fill(t, d, m, []byte("filled"))
}
