package service

import (
	"context"
	"sync"
	"testing"
	"time"

	"holdfast/compute/qemu/qmp"
)

// Monitor is a conversation with the hypervisor of a VPS beside the service's:
// by the monitor of the watchdog, which needs it only while a point in time is
// being taken.
type Monitor struct {
	*qmp.Client
}

// Monitor begins a conversation, which must end before the next point in time is
// taken.
func (s *Service) Monitor(t testing.TB, vps string) Monitor {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	q, err := qmp.Dial(ctx, s.in("run/"+vps+"/dog"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close() }) // never fails
	return Monitor{q}
}

// Throttle makes every disk of the VPS as slow as a bad one: so many writes a
// second, or with 0 as fast as it was.
func (m Monitor) Throttle(t testing.TB, writesPerSecond int, disks ...string) {
	t.Helper()
	for _, name := range disks {
		args := map[string]any{
			"id": "/machine/peripheral/v-" + name + "/virtio-backend", "bps": 0, "bps_rd": 0, "bps_wr": 0,
			"iops": 0, "iops_rd": 0, "iops_wr": writesPerSecond,
		}
		if err := m.Execute(t.Context(), "block_set_io_throttle", args, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// WriteLimit is the greatest limit of any of the guest's disks, in bytes per
// second; 0 is none.
func (m Monitor) WriteLimit(t testing.TB) int64 {
	t.Helper()
	var list []struct {
		Inserted struct {
			Limit int64 `json:"bps_wr"`
		}
	}
	if err := m.Execute(t.Context(), "query-block", nil, &list); err != nil {
		t.Fatal(err)
	}
	most := int64(0)
	for _, b := range list {
		most = max(most, b.Inserted.Limit)
	}
	return most
}

// Stops counts how often the guest is paused, for whatever reason.
type Stops struct {
	monitor Monitor
	names   []string
	done    sync.WaitGroup
}

// WatchStops begins to count; what pauses the guest for a point in time has to
// be over.
func (s *Service) WatchStops(t testing.TB, vps string) *Stops {
	t.Helper()
	w := &Stops{monitor: s.Monitor(t, vps)}
	w.done.Go(func() {
		for {
			select {
			case e := <-w.monitor.Events():
				if e.Name == "STOP" || e.Name == "BLOCK_IO_ERROR" {
					w.names = append(w.names, e.Name)
				}
			case <-w.monitor.Done():
				return
			}
		}
	})
	return w
}

// None ends the count, and fails the test when there were any.
func (w *Stops) None(t testing.TB) {
	t.Helper()
	_ = w.monitor.Close() // never fails
	w.done.Wait()
	if len(w.names) > 0 {
		t.Errorf("the guest was paused: %v", w.names)
	}
}
