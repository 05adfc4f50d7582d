package main

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/compute/sim"
	"holdfast/test/service"
)

// snapped is a service over the simulated hypervisor with a VPS to take snapshots
// of.
type snapped struct {
	*service.Service

	owner    service.Account
	vps, url string
	sim      *sim.Host
}

func newSnapped(t *testing.T) *snapped {
	t.Helper()
	machines := filepath.Join(t.TempDir(), "sim")
	// The upkeep looks as often as it would collect.
	s, owner, vps, _ := newService(t, service.Set("host.machines", machines), service.Set("vault.collect_after", "1s"))
	h, err := sim.Open(machines)
	if err != nil {
		t.Fatal(err)
	}
	return &snapped{s, owner, vps, "/api/v2/vps/" + vps + "/snapshots", h}
}

// job queues an operation on a snapshot; killed has the service die before it can
// be far.
func (s *snapped) job(t *testing.T, method, path string, body any, killed bool) {
	t.Helper()
	job := s.Call(t, s.owner.Key, method, s.url+path, body).Queued(t)
	if killed {
		s.Kill(t)
		s.Start(t)
	}
	s.Await(t, s.owner.Key, job, time.Minute)
}

// line is the names of the snapshots.
func (s *snapped) line(t *testing.T) string {
	t.Helper()
	var v struct{ Data []struct{ Name string } }
	s.Want(t, http.StatusOK, s.owner.Key, http.MethodGet, s.url, nil).Decode(t, &v)
	var out []string
	for _, i := range v.Data {
		out = append(out, i.Name)
	}
	return strings.Join(out, " ")
}

func (s *snapped) write(t *testing.T, content string) {
	t.Helper()
	if err := s.sim.WriteDisk(s.vps, "disk0", []byte(content), 4096); err != nil {
		t.Fatal(err)
	}
}

// want is what is on the disk, which snapshots there are, and that the VPS runs.
func (s *snapped) want(t *testing.T, content, line string) {
	t.Helper()
	b := make([]byte, len(content))
	if err := s.sim.ReadDisk(s.vps, "disk0", b, 4096); err != nil {
		t.Fatal(err)
	}
	var v struct{ PowerState string }
	s.Want(t, http.StatusOK, s.owner.Key, http.MethodGet, "/api/v2/vps/"+s.vps, nil).Decode(t, &v)
	if got := s.line(t); string(b) != content || got != line || v.PowerState != "running" {
		t.Errorf("%q with %q, %s; want %q with %q", b, got, v.PowerState, content, line)
	}
}

// TestSnapshots goes the whole way through the service, which is killed in the
// middle of some of it.
func TestSnapshots(t *testing.T) {
	s := newSnapped(t)
	for _, name := range []string{"one", "two", "three"} {
		s.write(t, name)
		s.job(t, http.MethodPost, "", map[string]string{"name": name}, false)
	}
	backup := backupOf(t, s.Service, s.owner, s.vps)
	s.write(t, "later")
	s.job(t, http.MethodPost, "/two/actions/restore", nil, true)
	s.want(t, "two", "one two")
	s.write(t, "now")
	s.job(t, http.MethodDelete, "/one", nil, true)
	s.want(t, "now", "two")
	// What was tracked for the next backup is not what is on the disks now.
	if next := backupOf(t, s.Service, s.owner, s.vps); next == backup {
		t.Error("the same backup twice")
	}
	s.Run(t, "vault", "check", "--account", s.owner.ID, "--read-data")
	s.Stop(t)
	s.Override("snapshot.lifetime", "1s")
	s.Start(t)
	s.job(t, http.MethodPost, "", map[string]string{"name": "short"}, false)
	s.gone(t, "short")
	s.want(t, "now", "two")
	s.Stop(t)
	s.Override("snapshot.limit", "0")
	s.Start(t)
	s.none(t)
}

// gone waits until a snapshot has been deleted by itself, here and on the host.
func (s *snapped) gone(t *testing.T, name string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		var all []struct{ Name string }
		if err := json.Unmarshal(s.Run(t, "admin", "snapshot", "list", "--json"), &all); err != nil {
			t.Fatal(err)
		}
		left, err := s.sim.Snapshots(t.Context(), s.vps)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 1 && len(left) == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not go: %+v\n%s", name, all, s.Log(t))
		}
	}
}

// none: with a limit of 0 there are none.
func (s *snapped) none(t *testing.T) {
	t.Helper()
	var v struct {
		Available bool
		Reason    *string
	}
	s.Want(t, http.StatusOK, s.owner.Key, http.MethodGet, s.url, nil).Decode(t, &v)
	if v.Available || v.Reason == nil {
		t.Errorf("%+v", v)
	}
	var p service.Problem
	s.Want(t, http.StatusConflict, s.owner.Key, http.MethodPost, s.url, map[string]string{"name": "a"}).Decode(t, &p)
	if p.Code != "snapshots_unavailable" {
		t.Errorf("%+v", p)
	}
}
