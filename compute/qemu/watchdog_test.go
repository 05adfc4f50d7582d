//go:build vm

package qemu

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"holdfast/compute"
)

// TestKilledWhilePaused: whatever dies while the guest is paused, the guest
// goes on within five seconds, and its next backup is right.
func TestKilledWhilePaused(t *testing.T) {
	cfg := testConfig(t)
	d := open(t, cfg)
	m := machine(4*mib, 4*mib)
	define(t, d, m, true)
	end(t, d, begin(t, d, m, "01base.1"), compute.Committed)
	guest(t, d, m.ID, "disk0", "write -P 7 1M 64k")

	last, died := killedAt(t, cfg, "qemu.begin.stopped")
	for {
		st, err := d.Inspect(t.Context(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		if st.Power == compute.Running {
			break
		}
		if time.Since(died) > 5*time.Second {
			t.Fatalf("the guest is %s after %v", st.Power, time.Since(died))
		}
	}
	t.Logf("the guest went on after %v", time.Since(died))

	if last.Disks[0].Parent != "01base.1" {
		t.Fatalf("saved %+v", last)
	}
	guest(t, d, m.ID, "disk0", "write -P 8 2M 64k")
	if err := d.Recover(t.Context(), last); !errors.Is(err, compute.ErrPointLost) {
		t.Errorf("recover: %v", err)
	}
	end(t, d, last, compute.Abandoned)
	statusIs(t, d, m.ID, compute.Running)
	bitmapsAre(t, d, m.ID, "hf-01base.1")
	h := begin(t, d, m, "01next.1", "01base.1")
	im := image{data: make([]byte, 4*mib)}
	im.update(t, d, h, 0)
	if im.data[1*mib] != 7 || im.data[2*mib] != 8 || im.read != 2*mib {
		t.Errorf("%d bytes read, %d and %d in them", im.read, im.data[1*mib], im.data[2*mib])
	}
	end(t, d, h, compute.Committed)
}

// TestSlowWhilePaused: a pause that lasts too long is ended by the watchdog,
// and the point in time is given up, because its disks are of two instants.
func TestSlowWhilePaused(t *testing.T) {
	d := newDriver(t)
	m := machine(4 * mib)
	define(t, d, m, true)
	d.resumeAfter = 50 * time.Millisecond
	d.fault = func(place string) {
		if place == "qemu.begin.stopped" {
			time.Sleep(300 * time.Millisecond) // the slowness itself
		}
	}
	_, err := d.Begin(t.Context(), compute.PointRequest{Machine: m.ID, Point: "01slow.1"}, func(compute.Handle) error { return nil })
	if !errors.Is(err, errWatchdog) {
		t.Fatalf("got %v", err)
	}
	d.resumeAfter, d.fault = watchdogAfter, nil
	statusIs(t, d, m.ID, compute.Running)
	bitmapsAre(t, d, m.ID)
	end(t, d, begin(t, d, m, "01slow.2"), compute.Abandoned)
}

func TestWatchdogProcess(t *testing.T) {
	d := newDriver(t)
	m := machine(mib)
	define(t, d, m, true)
	stop := func() {
		t.Helper()
		if err := converse(t, d, m.ID, func(ctx context.Context, s *session) error {
			return s.Execute(ctx, "stop", nil, nil)
		}); err != nil {
			t.Fatal(err)
		}
		statusIs(t, d, m.ID, compute.Paused)
	}
	run := func(after string, in io.Reader) string {
		t.Helper()
		var out strings.Builder
		if err := RunWatchdog([]string{d.socket(m.ID, socketWatchdog), after, "/nowhere"}, in, &out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	stop()
	if said := run("1m", strings.NewReader("release\n")); said != "ready\nok\n" {
		t.Errorf("released: %q", said)
	}
	statusIs(t, d, m.ID, compute.Paused)
	if said := run("1m", strings.NewReader("")); said != "ready\nfired\n" {
		t.Errorf("starter gone: %q", said)
	}
	statusIs(t, d, m.ID, compute.Running)
	stop()
	silent, w := io.Pipe()
	if said := run("10ms", silent); said != "ready\nfired\n" {
		t.Errorf("time is up: %q", said)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	statusIs(t, d, m.ID, compute.Running)
	// An agent that is not there, or does not answer, costs the freeze only.
	if said := run("1m", strings.NewReader("freeze\nrelease\n")); !strings.HasPrefix(said, "ready\nopen the guest agent does not answer") ||
		!strings.HasSuffix(said, "\nok\nopen nothing was frozen any more\n") {
		t.Errorf("no agent: %q", said)
	}
	for _, arg := range [][]string{nil, {"x", "1s"}, {"/nowhere", "1s", "y"}, {"/nowhere", "soon", "y"}} {
		if err := RunWatchdog(arg, strings.NewReader(""), io.Discard); err == nil {
			t.Errorf("arguments %q", arg)
		}
	}
}
