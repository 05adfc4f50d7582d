package sim_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"holdfast/compute"
	"holdfast/compute/sim"
	"holdfast/internal/vmtest"
)

func TestServeAnswersWithWhatTheDiskHolds(t *testing.T) {
	h := &harness{dir: t.TempDir()}
	if _, err := h.Open(); err != nil {
		t.Fatal(err)
	}
	port := vmtest.FreePort(t)
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	must(t, h.host.Define(t.Context(), compute.Machine{
		ID:    "m",
		Disks: []compute.Disk{{Name: "disk0", SizeBytes: 1 << 20}},
		NIC:   compute.NIC{Forwards: []compute.Forward{{HostPort: port, GuestPort: 80}}},
	}))
	guest := func(host *sim.Host) sim.Guest {
		return func(m compute.Machine, l net.Listener) {
			_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				text := make([]byte, 8)
				if err := host.ReadDisk(m.ID, "disk0", text, 0); err != nil {
					http.Error(w, err.Error(), http.StatusInternalServerError)
					return
				}
				_, _ = w.Write(text)
			}))
		}
	}
	stop, err := h.host.Serve(t.Context(), guest(h.host))
	must(t, err)
	silent(t, url) // not started yet
	must(t, h.host.Start(t.Context(), "m"))
	must(t, h.host.WriteDisk("m", "disk0", []byte("old data"), 0))
	answers(t, url, "old data")
	must(t, stop())
	silent(t, url)

	// A service that is started again finds the guest answering.
	if _, err := h.Open(); err != nil {
		t.Fatal(err)
	}
	stop, err = h.host.Serve(t.Context(), guest(h.host))
	must(t, err)
	answers(t, url, "old data")
	must(t, h.host.Kill("m"))
	silent(t, url)
	must(t, h.host.Start(t.Context(), "m"))
	answers(t, url, "old data")
	must(t, h.host.Stop(t.Context(), "m", time.Second))
	silent(t, url)
	must(t, h.host.Start(t.Context(), "m"))
	must(t, h.host.Delete(t.Context(), "m"))
	silent(t, url)
	must(t, stop())
}

func answers(t *testing.T, url, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if got, err := vmtest.WaitHTTP(ctx, url); err != nil || got != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

func silent(t *testing.T, url string) {
	t.Helper()
	if got, err := vmtest.Get(t.Context(), url); err == nil {
		t.Fatalf("a machine that does not run answers %q", got)
	}
}
