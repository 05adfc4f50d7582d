package crash

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
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
}

func newWorld(t *testing.T, options ...service.Option) *world {
	t.Helper()
	w := &world{Service: service.New(t, options...)}
	w.owner = w.NewAccount(t, "owner")
	w.vps = w.NewVPS(t, w.owner.ID, w.GuestImage(t), "web-01", true, 64*mib, 64*mib, 512*mib)
	w.web = w.Web(t, w.owner.Key, w.vps)
	get(t, w.web+"/boots")
	get(t, w.web+"/fill?dev=/dev/vdd&at=0&mb=256&kind=random")
	get(t, w.web+"/log/start?dev=/dev/vdb&dev=/dev/vdc")
	return w
}

// check proves that the vault is whole, to the last byte.
func (w *world) check(t *testing.T) {
	t.Helper()
	w.Run(t, "vault", "check", "--read-data")
}

// backups are the ids of the VPS's backups.
func (w *world) backups(t *testing.T) []string {
	t.Helper()
	var v struct{ Backups []struct{ ID string } }
	w.Want(t, http.StatusOK, w.owner.Key, http.MethodGet, "/api/v2/vps/"+w.vps+"/backups", nil).Decode(t, &v)
	var ids []string
	for _, b := range v.Backups {
		ids = append(ids, b.ID)
	}
	return ids
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

// written is how many bytes the service's process has written so far, to files
// and sockets.
func (w *world) written(t *testing.T) int64 {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/io", w.PID()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // read only
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if value, ok := strings.CutPrefix(sc.Text(), "wchar: "); ok {
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("the kernel does not count what processes write")
	return 0
}

// vaultBytes is the size of everything in the vaults.
func (w *world) vaultBytes(t *testing.T) int64 {
	t.Helper()
	var n int64
	err := filepath.WalkDir(filepath.Join(w.Dir, "vault"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		n += info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// pauses finds the longest time in which a guest wrote nothing.
type pauses struct {
	stop func()
	done sync.WaitGroup
	most time.Duration
}

// most is how long a guest may stay paused.
const most = 5 * time.Second

// watchPauses asks the guest for its log's last entry all the time.
func (w *world) watchPauses(t *testing.T) *pauses {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &pauses{stop: cancel}
	t.Cleanup(func() { cancel(); p.done.Wait() })
	p.done.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		last, since := "", time.Now()
		for {
			if now, err := vmtest.Get(ctx, w.web+"/log/count"); err == nil && now != last {
				last, since = now, time.Now()
			}
			if ctx.Err() == nil {
				p.most = max(p.most, time.Since(since))
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return p
}

func (p *pauses) check(t *testing.T) {
	t.Helper()
	p.stop()
	p.done.Wait()
	t.Logf("the longest time without a write of the guest was %s", p.most)
	if p.most > most {
		t.Errorf("the guest wrote nothing for %s", p.most)
	}
}

func count(t *testing.T, web string) int {
	t.Helper()
	n, err := strconv.Atoi(get(t, web+"/log/count"))
	if err != nil {
		t.Fatal(err)
	}
	return n
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
