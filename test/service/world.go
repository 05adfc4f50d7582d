package service

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"testing"

	"holdfast/internal/vmtest"
)

// Machine is what the operator's list says of a VPS.
type Machine struct {
	ID            string
	Name          string
	ServiceStatus string `json:"serviceStatus"`
	PowerState    string `json:"powerState"`
	IsPayg        bool   `json:"isPayg"`
}

// Machines lists all VPSs of the service, terminated ones too.
func (s *Service) Machines(t testing.TB) []Machine {
	t.Helper()
	var v []Machine
	s.admin(t, &v, "vps", "list")
	return v
}

// admin runs an operator's command and decodes what it prints.
func (s *Service) admin(t testing.TB, v any, args ...string) {
	t.Helper()
	out := s.Run(t, append(append([]string{"admin"}, args...), "--json")...)
	if v == nil {
		return
	}
	if err := json.Unmarshal(out, v); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
}

// Account is one customer of a test.
type Account struct{ ID, Key string }

// NewAccount makes an account that may do everything, and a key for all of it.
func (s *Service) NewAccount(t testing.TB, name string) Account {
	t.Helper()
	var a struct{ ID string }
	s.admin(t, &a, "account", "create", "--name", name, "--backup-slots", "50",
		"--verified", "--card-on-file", "--cloud-access", "--limit-instances", "10",
		"--limit-cpu-cores", "64", "--limit-memory-gb", "256", "--limit-storage-gb", "8000")
	var k struct{ Secret string }
	s.admin(t, &k, "key", "create", "--account", a.ID, "--name", "test", "--scopes", "read:all write:all")
	return Account{a.ID, k.Secret}
}

// GuestImage imports the test guest as an OS image and returns its name.
func (s *Service) GuestImage(t testing.TB) string {
	t.Helper()
	g := vmtest.Guest(t)
	s.admin(t, nil, "image", "import", "--name", "guest", "--os-name", "Test guest", "--os-family", "linux", "--os-version", "1",
		"--disk", g.Root, "--format", "qcow2", "--kernel", g.Kernel, "--initrd", g.Initrd, "--cmdline", g.Cmdline)
	return "guest"
}

// NewVPS makes a VPS with further disks of these sizes in bytes, and starts it
// if start says so.
func (s *Service) NewVPS(t testing.TB, account, image, name string, start bool, disks ...int64) string {
	t.Helper()
	args := []string{
		"vps", "create", "--account", account, "--image", image, "--name", name,
		"--cpu-cores", "1", "--memory-mib", "256", "--forward", "80", "--wait",
	}
	for _, d := range disks {
		args = append(args, "--disk-bytes", fmt.Sprint(d))
	}
	if start {
		args = append(args, "--start")
	}
	var v struct{ ID string }
	s.admin(t, &v, args...)
	return v.ID
}

// Web is where port 80 of a VPS is reached.
func (s *Service) Web(t testing.TB, key, vps string) string {
	t.Helper()
	var v struct {
		ForwardedPorts []struct {
			Address             string
			HostPort, GuestPort int
		}
	}
	s.Want(t, http.StatusOK, key, http.MethodGet, "/api/v2/vps/"+vps, nil).Decode(t, &v)
	for _, p := range v.ForwardedPorts {
		if p.GuestPort == 80 {
			return "http://" + net.JoinHostPort(p.Address, strconv.Itoa(p.HostPort))
		}
	}
	t.Fatalf("VPS %s forwards no port 80", vps)
	return ""
}

// Backup queues a backup and returns its job.
func (s *Service) Backup(t testing.TB, key, vps string) string {
	t.Helper()
	return s.Call(t, key, http.MethodPost, "/api/v2/vps/"+vps+"/backups", nil).Queued(t)
}

// BackupResult of a job.
type BackupResult struct {
	BackupID         string `json:"backupId"`
	TransferredBytes int64
	ChangedBytes     int64
	Incremental      string
	Consistency      string
}
