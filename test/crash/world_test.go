package crash

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/internal/vmtest"
	"holdfast/test/service"
)

// world is a service with one VPS whose guest writes all the time, and has
// enough data for a backup to take a while.
type world struct {
	*service.Service
	owner    service.Account
	vps, web string

	first service.BackupResult // that survived kills
	entry uint64               // the last of the guest's log in the newest backup
}

// data is how many MiB of random bytes each further disk holds. A restore that
// is killed begins a disk of this size anew, a larger one at a checkpoint.
const (
	dataDisks = 4
	dataMiB   = 64
)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Service: service.New(t, service.Binary(service.Build(t, "faults")), service.Set("vault.bytes_per_second", rate))}
	w.owner = w.NewAccount(t, "owner")
	sizes := []int64{64 * mib, 64 * mib}
	for range dataDisks {
		sizes = append(sizes, 2*dataMiB*mib)
	}
	w.vps = w.NewVPS(t, w.owner.ID, w.GuestImage(t), "web-01", true, sizes...)
	w.web = w.Web(t, w.owner.Key, w.vps)
	get(t, w.web+"/boots")
	w.fill(t, dataDisks, 0)
	ask(t, w.web+"/log/start?dev=/dev/vdb&dev=/dev/vdc")
	return w
}

// fill has the guest write random bytes, other ones for other seeds, to so many
// of its further disks.
func (w *world) fill(t *testing.T, disks, seed int) {
	t.Helper()
	for n := range disks {
		ask(t, fmt.Sprintf("%s/fill?dev=/dev/vd%c&mb=%d&kind=random&seed=%d", w.web, 'd'+n, dataMiB, seed+n))
	}
}

// check proves that the vault is whole, to the last byte.
func (w *world) check(t *testing.T) {
	t.Helper()
	w.Run(t, "vault", "check", "--read-data")
}

// completed is the result of a backup's job.
func (w *world) completed(t *testing.T, job string) service.BackupResult {
	t.Helper()
	var b service.BackupResult
	service.Answer{Body: w.Await(t, w.owner.Key, job, patience).Result}.Decode(t, &b)
	return b
}

// listed is what the API lists of a backup.
type listed struct {
	ID        string
	CreatedAt time.Time
}

func (w *world) list(t *testing.T) []listed {
	t.Helper()
	var v struct{ Backups []listed }
	w.Want(t, http.StatusOK, w.owner.Key, http.MethodGet, "/api/v2/vps/"+w.vps+"/backups", nil).Decode(t, &v)
	return v.Backups
}

// backups are the ids of the VPS's backups.
func (w *world) backups(t *testing.T) []string {
	t.Helper()
	var ids []string
	for _, b := range w.list(t) {
		ids = append(ids, b.ID)
	}
	return ids
}

func (w *world) createdAt(t *testing.T, id string) time.Time {
	t.Helper()
	for _, b := range w.list(t) {
		if b.ID == id {
			return b.CreatedAt
		}
	}
	t.Fatalf("backup %s is not listed", id)
	return time.Time{}
}

// cloudVMs are the ids of the Cloud VMs, terminated ones left out.
func (w *world) cloudVMs(t *testing.T) []string {
	t.Helper()
	var ids []string
	for _, m := range w.Machines(t) {
		if m.IsPayg && m.ServiceStatus != "terminated" {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

func number(t *testing.T, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// ask asks once: what the guest does then may take long.
func ask(t *testing.T, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := vmtest.Get(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(s)
}

func get(t *testing.T, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := vmtest.WaitHTTP(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(s)
}

func put(t *testing.T, url, content string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := vmtest.Put(ctx, url, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}
