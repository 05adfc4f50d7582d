package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"holdfast/test/service"
)

var macAddress = regexp.MustCompile(`mac=([0-9a-f:]{17})`)

// TestOtherSize restores to a Cloud VM of another name and size while the source
// is stopped, and finds both in the new guest and nothing changed in the source.
func TestOtherSize(t *testing.T) {
	s := service.New(t)
	owner := s.NewAccount(t, "owner")
	vps := s.NewVPS(t, owner.ID, s.GuestImage(t), "web-01", true, logDisk)
	web := s.Web(t, owner.Key, vps)
	get(t, web+"/boots")
	put(t, web+"/content", "kept")
	source := s.Hypervisor(t, vps)
	s.Run(t, "admin", "vps", "stop", vps, "--wait")
	b := backup(t, s, owner.Key, vps)
	before := []string{checksum(t, s.DiskFile(vps, "disk0")), checksum(t, s.DiskFile(vps, "disk1"))}

	job := s.Call(t, owner.Key, http.MethodPost, "/api/v2/vps/"+vps+"/backups/"+b.BackupID+"/actions/restore-to-payg",
		map[string]any{"name": "restore-web-01", "region": "local", "cpuCores": 2, "memoryGb": 1, "storageGb": 3}).Queued(t)
	var r struct{ VPSID, Name string }
	service.Answer{Body: s.Await(t, owner.Key, job, patience).Result}.Decode(t, &r)
	restored := s.Web(t, owner.Key, r.VPSID)
	if got := get(t, restored+"/content"); got != "kept" {
		t.Errorf("the restored VM serves %q", got)
	}
	if got := get(t, restored+"/hostname"); got != "restore-web-01" || r.Name != got {
		t.Errorf("the restored VM is called %q in itself, %q in the result", got, r.Name)
	}
	want := fmt.Sprintf("/dev/vda %d\n/dev/vdb %d", 3*gib-logDisk, logDisk)
	if got := get(t, restored+"/disks"); got != want {
		t.Errorf("the disks are\n%s\nand not\n%s", got, want)
	}
	made := s.Hypervisor(t, r.VPSID)
	if !strings.Contains(made.Cmdline, " -smp 2 ") || !strings.Contains(made.Cmdline, " -m 1024M ") {
		t.Errorf("it is run by %s", made)
	}
	if a, b := macAddress.FindString(source.Cmdline), macAddress.FindString(made.Cmdline); a == "" || b == "" || a == b {
		t.Errorf("the addresses are %q and %q", a, b)
	}
	var v struct {
		Resources struct{ CPUCores, MemoryGb, StorageGb float64 }
		Billing   struct{ IsPayg bool }
	}
	s.Want(t, http.StatusOK, owner.Key, http.MethodGet, "/api/v2/vps/"+r.VPSID, nil).Decode(t, &v)
	if z := v.Resources; z.CPUCores != 2 || z.MemoryGb != 1 || z.StorageGb != 3 || !v.Billing.IsPayg {
		t.Errorf("the API says %+v", v)
	}
	for n, sum := range before {
		if now := checksum(t, s.DiskFile(vps, fmt.Sprintf("disk%d", n))); now != sum {
			t.Errorf("disk%d of the source has changed", n)
		}
	}
}

func checksum(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // read only
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}
