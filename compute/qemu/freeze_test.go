//go:build vm

package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/compute"
	"holdfast/internal/vmtest"
)

// bootLinux starts the test guest with its root on the first of its disks, and
// returns its URL.
func bootLinux(t *testing.T, d *Driver, m *compute.Machine, cmdline string) string {
	t.Helper()
	g := vmtest.Guest(t)
	m.MemoryMiB, m.Kernel, m.Initrd, m.Cmdline = 192, g.Kernel, g.Initrd, strings.TrimSpace(g.Cmdline+" "+cmdline)
	m.Disks[0].Image, m.Disks[0].ImageFormat = g.Root, "qcow2"
	port := vmtest.FreePort(t)
	m.NIC.Forwards = []compute.Forward{{HostPort: port, GuestPort: 80}}
	define(t, d, *m, true)
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if _, err := vmtest.WaitHTTP(ctx, url+"/hostname"); err != nil {
		text, _ := d.Console(t.Context(), m.ID, 4096)
		t.Fatalf("%v; console:\n%s", err, text)
	}
	return url
}

// writes proves that the guest's file system takes writes, durably.
func writes(t *testing.T, url, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := vmtest.Put(ctx, url+"/content", strings.NewReader(what)); err != nil {
		t.Fatalf("the guest does not write: %v", err)
	}
}

// replay says whether the ext4 of an image has a journal to replay, and fails
// if it is not clean after that.
func replay(t *testing.T, data []byte) bool {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root.raw")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	tool := func(name string, arg ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, append(arg, path)...)
		cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin", "LC_ALL=C")
		if cmd.Err != nil {
			cmd.Path, cmd.Err = "/usr/sbin/"+name, nil
		}
		said, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v (apt-get install e2fsprogs)\n%s", name, err, said)
		}
		return string(said)
	}
	needed := strings.Contains(tool("dumpe2fs", "-h"), "needs_recovery")
	if needed {
		if code := exec.CommandContext(t.Context(), "/usr/sbin/e2fsck", "-fp", path).Run(); code != nil && code.Error() != "exit status 1" {
			t.Errorf("e2fsck -fp: %v", code)
		}
	}
	tool("e2fsck", "-fn")
	return needed
}

// take takes a point of a guest that has just written, and returns its handle
// and its root disk.
func take(t *testing.T, d *Driver, m compute.Machine, url string, p compute.Point) (compute.Handle, []byte) {
	t.Helper()
	writes(t, url, "of "+string(p))
	h := begin(t, d, m, p)
	var im image
	im.update(t, d, h, 0)
	end(t, d, h, compute.Abandoned)
	return h, im.data
}

// TestFreeze takes points in time of a Linux with a guest agent: each thaws,
// whatever dies and however late the agent is.
func TestFreeze(t *testing.T) {
	cfg := testConfig(t)
	d := open(t, cfg)
	m := machine(256 * mib)
	url := bootLinux(t, d, &m, "")

	t.Run("frozen", func(t *testing.T) {
		h, root := take(t, d, m, url, "01frozen.1")
		if !h.Frozen || h.NotFrozen != "" {
			t.Errorf("%+v", h)
		}
		if replay(t, root) {
			t.Error("the journal has to be replayed, as after a power cut")
		}
		writes(t, url, "after a freeze")
	})
	t.Run("switched off", func(t *testing.T) {
		d.cfg.NoFreeze = true
		defer func() { d.cfg.NoFreeze = false }()
		h, root := take(t, d, m, url, "01off.1")
		if h.Frozen || h.NotFrozen != "freezing is switched off" {
			t.Errorf("%+v", h)
		}
		if !replay(t, root) {
			t.Error("it was frozen all the same, or this test cannot tell")
		}
	})
	for _, place := range []string{"qemu.begin.freezing", "qemu.begin.frozen", "qemu.begin.slid"} {
		t.Run("killed at "+place, func(t *testing.T) {
			last, died := killedAt(t, cfg, place)
			writes(t, url, "after the death of the service")
			if took := time.Since(died); took > 5*time.Second {
				t.Errorf("the guest could not write for %v", took)
			}
			statusIs(t, d, m.ID, compute.Running)
			end(t, d, last, compute.Abandoned)
			if h, _ := take(t, d, m, url, "01next.1"); !h.Frozen {
				t.Errorf("the next one: %+v", h)
			}
		})
	}
	t.Run("killed in a snapshot", func(t *testing.T) {
		_, died := killedAt(t, cfg, "qemu.layer.frozen")
		writes(t, url, "after the death of the service")
		if took := time.Since(died); took > 5*time.Second {
			t.Errorf("the guest could not write for %v", took)
		}
		// And the watchdog too: the next call thaws.
		_, died = killedAt(t, cfg, "qemu.layer.frozen", "watchdog")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := vmtest.Get(ctx, url+"/fill?path=/data/third&mb=1"); err == nil {
			t.Fatal("the guest is not frozen: this test proves nothing")
		}
		s, err := d.Snapshot(t.Context(), m.ID, "killed")
		if err != nil || !s.Frozen || s.At.Before(died) {
			t.Errorf("the next one: %+v, %v; the service died at %v", s, err, died)
		}
		if err := d.RemoveSnapshot(t.Context(), m.ID, "killed", nil); err != nil {
			t.Error(err)
		}
		writes(t, url, "after the snapshot")
	})
	t.Run("watchdog killed", func(t *testing.T) { watchdogKilled(t, d, m, url) })
	t.Run("both killed", func(t *testing.T) {
		last, _ := killedAt(t, cfg, "qemu.begin.frozen", "watchdog")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := vmtest.Get(ctx, url+"/fill?path=/data/other&mb=1"); err == nil {
			t.Fatal("the guest is not frozen: this test proves nothing")
		}
		end(t, d, last, compute.Abandoned)
		writes(t, url, "after the point was ended")
	})
	t.Run("late", func(t *testing.T) { late(t, d, m, url) })
}

// killedAt runs a service that is killed at a place of its Begin, after its
// children whose command line has a word of first.
func killedAt(t *testing.T, cfg Config, place string, first ...string) (last compute.Handle, died time.Time) {
	t.Helper()
	cfg.Logger = nil
	plain, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(cfg.Watchdog[0], append([]string{"die", string(plain), place}, first...)...)
	cmd.Stderr = t.Output()
	handles, err := cmd.Output()
	died = time.Now()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the service was to be killed: %v", err)
	}
	for dec := json.NewDecoder(bytes.NewReader(handles)); dec.More(); {
		if err := dec.Decode(&last); err != nil {
			t.Fatal(err)
		}
	}
	return last, died
}

// watchdogKilled: the one who was to thaw dies, and the service does it.
func watchdogKilled(t *testing.T, d *Driver, m compute.Machine, url string) {
	d.fault = func(place string) {
		if place == "qemu.begin.frozen" {
			killChildren("watchdog")
		}
	}
	_, err := d.Begin(t.Context(), compute.PointRequest{Machine: m.ID, Point: "01dog.1"}, func(compute.Handle) error { return nil })
	d.fault = nil
	if !errors.Is(err, errUnthawed) {
		t.Errorf("got %v", err)
	}
	writes(t, url, "after the death of the watchdog")
	statusIs(t, d, m.ID, compute.Running)
}

// late: the agent answers, but freezes long after we have given up. The backup
// is as after a power cut, and the guest is thawed when it comes to that.
func late(t *testing.T, d *Driver, m compute.Machine, url string) {
	delay := func(seconds int) {
		t.Helper()
		if _, err := vmtest.Get(t.Context(), fmt.Sprintf("%s/freeze/delay?seconds=%d", url, seconds)); err != nil {
			t.Fatal(err)
		}
	}
	delay(8)
	began := time.Now()
	h, _ := take(t, d, m, url, "01late.1")
	if h.Frozen || !strings.Contains(h.NotFrozen, "deadline exceeded") {
		t.Errorf("%+v", h)
	}
	left, err := vmtest.Strays(d.cfg.Run)
	if err != nil {
		t.Fatal(err)
	}
	stays := false
	for _, p := range left {
		stays = stays || strings.Contains(p.Cmdline, " watchdog ")
	}
	if !stays {
		t.Error("nobody waits for the late freeze")
	}
	delay(0)
	// The watchdog goes home once the guest has said that it thawed.
	eventually(t, "the thaw", func() bool {
		left, err := vmtest.Strays(d.cfg.Run)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range left {
			if strings.Contains(p.Cmdline, " watchdog ") {
				return false
			}
		}
		return true
	})
	if took := time.Since(began); took < 8*time.Second {
		t.Errorf("after %v the guest had not even frozen", took)
	}
	writes(t, url, "after a late freeze")
	if h, _ := take(t, d, m, url, "01late.2"); !h.Frozen {
		t.Errorf("the next one: %+v", h)
	}
}

// TestNoAgent: a guest without an agent costs no time and is backed up as it is.
func TestNoAgent(t *testing.T) {
	d := newDriver(t)
	m := machine(256 * mib)
	url := bootLinux(t, d, &m, "noagent")
	h, root := take(t, d, m, url, "01none.1")
	if h.Frozen || h.NotFrozen != "the guest has no agent running" {
		t.Errorf("%+v", h)
	}
	if !replay(t, root) {
		t.Error("it was frozen all the same, or the other test cannot tell")
	}
}
