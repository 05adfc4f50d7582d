//go:build vm

package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/compute"
	"holdfast/internal/vmtest"
)

// latency is what the guest says of its writes since it was last asked.
type latency struct {
	Count int   `json:"writes"`
	Max   int64 `json:"maxMicros"`
}

// TestSnapshotsUnderWrites takes, goes back to and gives up snapshots of a real
// Linux that writes to two disks all the time: what it finds is an exact prefix of
// its log, at one instant, and it hardly notices.
func TestSnapshotsUnderWrites(t *testing.T) {
	d := newDriver(t)
	m := machine(512*mib, 64*mib, 64*mib)
	url := bootLinux(t, d, &m, "")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	asked := func(what string) string {
		t.Helper()
		said, err := vmtest.Get(ctx, url+what)
		if err != nil {
			t.Fatal(err)
		}
		return said
	}
	noticed := func(what string) time.Duration {
		t.Helper()
		var l latency
		if err := json.Unmarshal([]byte(asked("/log/latency")), &l); err != nil {
			t.Fatal(err)
		}
		took := time.Duration(l.Max) * time.Microsecond
		t.Logf("%s: the longest of %d writes took %v", what, l.Count, took)
		return took
	}
	last := func(p compute.Point) uint64 {
		t.Helper()
		h := begin(t, d, m, p)
		images := make([]image, 2)
		for i := range images {
			images[i].update(t, d, h, i+1) // behind the root
		}
		end(t, d, h, compute.Abandoned)
		result, err := vmtest.VerifyLog(bytes.NewReader(images[0].data), bytes.NewReader(images[1].data))
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		return result.Last[0]
	}
	writing := "/log/start?dev=/dev/vdb&dev=/dev/vdc"
	asked(writing)
	written := func() uint64 {
		t.Helper()
		n, err := strconv.ParseUint(strings.TrimSpace(asked("/log/count")), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	eventually(t, "some writes", func() bool { return written() > 20 })
	noticed("idle")
	before := last("01before.1")
	noticed("a backup")
	for _, id := range []string{"a", "b", "c"} {
		began := time.Now()
		s, err := d.Snapshot(ctx, m.ID, id)
		if err != nil || !s.Frozen {
			t.Fatalf("%+v, %v", s, err)
		}
		if took := noticed("snapshot " + id); took >= time.Second {
			t.Errorf("a snapshot held the guest's writes up for %v", took)
		}
		t.Logf("snapshot %s took %v in all", id, time.Since(began))
	}
	after := last("01after.1")
	noticed("a backup")
	// The oldest, then the newest: between others, and what the guest writes to.
	for _, id := range []string{"a", "c"} {
		if err := d.RemoveSnapshot(ctx, m.ID, id, nil); err != nil {
			t.Fatal(err)
		}
		if took := noticed("removal of " + id); took >= 2*time.Second {
			t.Errorf("a removal held the guest's writes up for %v", took)
		}
	}
	if now := last("01removed.1"); now < after {
		t.Errorf("the log ends at %d, it had %d", now, after)
	}
	if err := d.Stop(ctx, m.ID, time.Minute); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := d.Rollback(ctx, m.ID, "b"); err != nil {
		t.Fatal(err)
	}
	t.Logf("rollback took %v", time.Since(began))
	if now := last("01back.1"); now < before || now > after {
		t.Errorf("the log ends at %d, the snapshot was taken between %d and %d", now, before, after)
	}
	if err := d.Start(ctx, m.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := vmtest.WaitHTTP(ctx, url+"/hostname"); err != nil {
		t.Fatal(err)
	}
	// The guest itself reads its log from the disks, and goes on with it.
	asked(writing)
	eventually(t, "writes after the rollback", func() bool { return written() > after })
	if now := last("01again.1"); now <= after {
		t.Errorf("the log ends at %d, it had %d", now, after)
	}
}
