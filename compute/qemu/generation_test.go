//go:build vm

package qemu

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"holdfast/compute"
)

// TestCutGenerationAnywhere ends the making of a generation, its switch and the
// dropping of the former one at each place, and checks that the machine has the
// old disks or the new ones, whole, and starts; a successor then does it all again.
func TestCutGenerationAnywhere(t *testing.T) {
	cfg := testConfig(t)
	d := open(t, cfg)
	for _, place := range []string{"made", "prepared", "tracked", "ready", "linked", "switched", "dropped"} {
		t.Run(place, func(t *testing.T) {
			m := machine(mib, mib)
			define(t, d, m, false)
			defer func() {
				if err := d.Delete(t.Context(), m.ID); err != nil {
					t.Error(err)
				}
				noTraces(t, cfg)
			}()
			cut := open(t, cfg)
			hit := false
			cut.fault = func(at string) {
				if at == "qemu.generation."+place {
					hit = true
					runtime.Goexit()
				}
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = regenerate(t.Context(), cut, m)
			}()
			<-done
			if !hit {
				t.Fatal("the place was not reached")
			}
			now := inForce(t, d, m)
			if now != 0 && now != 7 || now == 7 != (place == "switched" || place == "dropped") {
				t.Fatalf("the disks in force begin with %d", now)
			}
			for range 2 {
				if err := regenerate(t.Context(), d, m); err != nil {
					t.Fatal(err)
				}
			}
			if now := inForce(t, d, m); now != 7 {
				t.Errorf("afterwards the disks in force begin with %d", now)
			}
			left, err := filepath.Glob(d.file(m.ID, ".*"))
			gens, gerr := d.Generations(t.Context(), m.ID)
			if err != nil || gerr != nil || len(left) > 0 || len(gens) != 1 {
				t.Errorf("left behind: %v, %+v, %v, %v", left, gens, err, gerr)
			}
		})
	}
}

// regenerate replaces the disks of a stopped machine by those of generation 2.
func regenerate(ctx context.Context, d *Driver, m compute.Machine) error {
	gens, err := d.Generations(ctx, m.ID)
	if err != nil {
		return err
	}
	at := map[string]compute.Point{}
	fresh := true
	for _, g := range gens {
		fresh = fresh && (g.Name != "2" || !g.Ready)
	}
	if fresh {
		if err := d.Prepare(ctx, m.ID, "2", m.Disks); err != nil {
			return err
		}
		for _, dk := range m.Disks {
			at[dk.Name] = "01base.1"
			s, err := d.FillGeneration(ctx, m.ID, "2", dk.Name)
			if err != nil {
				return err
			}
			if _, err := s.WriteAt(bytes.Repeat([]byte{7}, mib), 0); err != nil {
				return err
			}
			if err := s.Close(); err != nil {
				return err
			}
		}
		if err := d.Ready(ctx, m.ID, "2", at); err != nil {
			return err
		}
	}
	if err := d.Switch(ctx, m.ID, "2"); err != nil {
		return err
	}
	return d.Drop(ctx, m.ID, "1")
}

// inForce starts and stops the machine, and says with which byte all its disks
// are full.
func inForce(t *testing.T, d *Driver, m compute.Machine) byte {
	t.Helper()
	if err := d.Start(t.Context(), m.ID); err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(t.Context(), m.ID, 0); err != nil {
		t.Fatal(err)
	}
	h := begin(t, d, m, "01look.1")
	defer end(t, d, h, compute.Abandoned)
	var first byte
	for i, hd := range h.Disks {
		src, err := d.Open(t.Context(), h, hd.Name)
		if err != nil {
			t.Fatal(err)
		}
		b := content(t, src)
		if err := src.Close(); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = b[0]
		}
		if !bytes.Equal(b, bytes.Repeat([]byte{first}, mib)) {
			t.Fatalf("%s is a mixture, or another generation's", hd.Name)
		}
	}
	return first
}

func TestGenerationHasOwnerAndModeOfTheReplaced(t *testing.T) {
	d := newDriver(t)
	m := machine(mib)
	define(t, d, m, false)
	path := d.diskPath(m.ID, "disk0")
	// As of a hypervisor that runs as another user; we may give files away only as root.
	uid := os.Getuid()
	if uid == 0 {
		uid = 12345
	}
	if err := os.Chown(path, uid, os.Getgid()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := d.Prepare(t.Context(), m.ID, "2", append(m.Disks, compute.Disk{Name: "disk1", SizeBytes: mib})); err != nil {
		t.Fatal(err)
	}
	for disk, want := range map[string]struct {
		uid  int
		mode os.FileMode
	}{"disk0": {uid, 0o640}, "disk1": {os.Getuid(), 0o600}} {
		fi, err := os.Stat(d.diskIn(m.ID, preparedPrefix+"2", disk))
		if err != nil {
			t.Fatal(err)
		}
		if got := int(fi.Sys().(*syscall.Stat_t).Uid); got != want.uid || fi.Mode().Perm() != want.mode {
			t.Errorf("%s belongs to %d, mode %o; want %+v", disk, got, fi.Mode().Perm(), want)
		}
	}
}
