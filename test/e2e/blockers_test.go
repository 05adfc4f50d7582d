package e2e

import (
	"net/http"
	"slices"
	"testing"

	"holdfast/test/service"
)

// TestBlockers: what the operator says of an account decides about Cloud VMs,
// at once and without a restart, and the gate says the same as the call.
func TestBlockers(t *testing.T) {
	s := service.New(t, service.Set("host.driver", "sim"))
	owner := s.NewAccount(t, "owner")
	vps := s.NewVPS(t, owner.ID, rawImage(t, s, "small", mib), "web-01", false)
	b := backup(t, s, owner.Key, vps)
	path := "/api/v2/vps/" + vps + "/backups/" + b.BackupID + "/actions/restore-to-payg"
	vm := restore(t, s, owner.Key, vps, b.BackupID) // counts against the limits
	for _, c := range []struct {
		flag, code string
		status     int
		back       string
	}{
		{"--unpaid-invoice", "has_unpaid_invoice", http.StatusConflict, "--unpaid-invoice=false"},
		{"--card-on-file=false", "no_card_on_file", http.StatusForbidden, "--card-on-file"},
		{"--verified=false", "not_verified", http.StatusForbidden, "--verified"},
		{"--cloud-access=false", "no_cloud_access", http.StatusForbidden, "--cloud-access"},
		{"--limit-cpu-cores=1", "cpu_limit_exceeded", http.StatusForbidden, "--limit-cpu-cores=64"},
		{"--limit-memory-gb=1", "memory_limit_exceeded", http.StatusForbidden, "--limit-memory-gb=256"},
		{"--limit-storage-gb=1", "storage_limit_exceeded", http.StatusForbidden, "--limit-storage-gb=8000"},
		{"--limit-instances=1", "instance_limit_exceeded", http.StatusForbidden, "--limit-instances=10"},
	} {
		t.Run(c.code, func(t *testing.T) {
			s.Run(t, "admin", "account", "set", owner.ID, c.flag)
			var p struct {
				service.Problem
				BlockerReasons []string
				Extensions     struct{ BlockerReasons []string }
			}
			s.Want(t, c.status, owner.Key, http.MethodPost, path, nil).Decode(t, &p)
			only := []string{c.code}
			if p.Code != c.code || !slices.Equal(p.BlockerReasons, only) || !slices.Equal(p.Extensions.BlockerReasons, only) {
				t.Errorf("the problem is %+v", p)
			}
			if allowed, code := paygGate(t, s, owner.Key, vps); allowed || code != c.code {
				t.Errorf("the gate is %t, %q", allowed, code)
			}
			s.Run(t, "admin", "account", "set", owner.ID, c.back)
			if allowed, code := paygGate(t, s, owner.Key, vps); !allowed {
				t.Errorf("the gate stays shut: %q", code)
			}
		})
	}
	s.Run(t, "admin", "account", "set", owner.ID, "--limit-instances=1")
	s.Run(t, "admin", "vps", "delete", vm, "--wait")
	restore(t, s, owner.Key, vps, b.BackupID) // its place is free again
}

// paygGate is the gate of restores to Cloud VMs.
func paygGate(t *testing.T, s *service.Service, key, vps string) (allowed bool, code string) {
	t.Helper()
	var v struct {
		Actions struct {
			CanRestoreToPayg struct {
				Allowed bool
				Code    string
			}
		}
	}
	s.Want(t, http.StatusOK, key, http.MethodGet, "/api/v2/vps/"+vps+"/backups", nil).Decode(t, &v)
	return v.Actions.CanRestoreToPayg.Allowed, v.Actions.CanRestoreToPayg.Code
}
