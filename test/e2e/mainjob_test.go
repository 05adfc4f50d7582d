// Package e2e runs the whole product on real virtual machines: the binary, its
// API over HTTP, QEMU and guests that boot.
package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"holdfast/internal/vmtest"
	"holdfast/test/service"
)

const (
	mib     = int64(1) << 20
	logDisk = 64 * mib
	// patience is for a guest under software emulation on a busy machine.
	patience = 2 * time.Minute
)

// TestMainJob is the reason for all the rest: a VPS under constant writes is
// backed up live, changed, backed up again three times, and the first backup
// becomes a new VM that boots and serves the old data.
func TestMainJob(t *testing.T) {
	s := service.New(t)
	owner := s.NewAccount(t, "owner")
	vps := s.NewVPS(t, owner.ID, s.GuestImage(t), "web-01", true, logDisk, logDisk)
	web := s.Web(t, owner.Key, vps)
	get(t, web+"/boots")
	put(t, web+"/content", "old")
	startLog(t, web)

	first := backup(t, s, owner.Key, vps)
	if first.Incremental != "full" || first.Consistency != "filesystem" {
		t.Errorf("the first backup is %+v", first)
	}
	put(t, web+"/content", "new")
	backups := []service.BackupResult{first}
	for n := range 3 {
		b := backup(t, s, owner.Key, vps)
		if b.Incremental != "incremental" || b.TransferredBytes > b.ChangedBytes+mib {
			t.Errorf("incremental %d sent more than what changed: %+v", n+1, b)
		}
		backups = append(backups, b)
	}
	stopLog(t, web)

	var last uint64
	for n, b := range backups {
		entry := s.VerifyLog(t, owner, b.BackupID)
		if entry <= last {
			t.Errorf("backup %d ends with entry %d, the one before with %d: the guest wrote in between", n, entry, last)
		}
		last = entry
	}
	vm := restore(t, s, owner.Key, vps, first.BackupID)
	restored := s.Web(t, owner.Key, vm)
	if got := get(t, restored+"/content"); got != "old" {
		t.Errorf("the restored VM serves %q", got)
	}
	if got := get(t, web+"/content"); got != "new" {
		t.Errorf("the source serves %q", got)
	}
	if a, b := get(t, restored+"/hostname"), get(t, web+"/hostname"); a == b {
		t.Errorf("both are called %q", a)
	}
	s.Run(t, "vault", "check", "--account", owner.ID, "--read-data")
}

// TestStopped backs a stopped VPS up, before and after it ran in between.
func TestStopped(t *testing.T) {
	s := service.New(t)
	owner := s.NewAccount(t, "owner")
	vps := s.NewVPS(t, owner.ID, s.GuestImage(t), "web-01", true)
	web := s.Web(t, owner.Key, vps)
	get(t, web+"/boots")
	put(t, web+"/content", "first")
	s.Run(t, "admin", "vps", "stop", vps, "--wait")

	b := backup(t, s, owner.Key, vps)
	if b.Incremental != "full" || b.Consistency != "offline" {
		t.Errorf("the backup of the stopped VPS is %+v", b)
	}
	s.Run(t, "admin", "vps", "start", vps, "--wait")
	get(t, web+"/boots")
	put(t, web+"/content", "second")
	live := backup(t, s, owner.Key, vps)
	if live.Incremental != "incremental" || live.Consistency != "filesystem" {
		t.Errorf("the live backup after it is %+v", live)
	}
	vm := restore(t, s, owner.Key, vps, live.BackupID)
	if got := get(t, s.Web(t, owner.Key, vm)+"/content"); got != "second" {
		t.Errorf("the restored VM serves %q", got)
	}
}

// TestRestartKeepsGuests: guests outlive the service, which finds them again.
func TestRestartKeepsGuests(t *testing.T) {
	s := service.New(t)
	owner := s.NewAccount(t, "owner")
	vps := s.NewVPS(t, owner.ID, s.GuestImage(t), "web-01", true)
	web := s.Web(t, owner.Key, vps)
	boots := get(t, web+"/boots")
	backup(t, s, owner.Key, vps)
	for _, end := range []func(testing.TB){s.Stop, s.Kill} {
		end(t)
		if got := get(t, web+"/boots"); got != boots {
			t.Fatalf("the guest booted again: %s instead of %s", got, boots)
		}
		s.Start(t)
		if b := backup(t, s, owner.Key, vps); b.Incremental != "incremental" {
			t.Errorf("after the restart the backup is %+v", b)
		}
	}
}

// backup makes a backup and waits for it.
func backup(t *testing.T, s *service.Service, key, vps string) service.BackupResult {
	t.Helper()
	var b service.BackupResult
	service.Answer{Body: s.Await(t, key, s.Backup(t, key, vps), patience).Result}.Decode(t, &b)
	return b
}

// restore restores a backup to a new Cloud VM and returns its id.
func restore(t *testing.T, s *service.Service, key, vps, backup string) string {
	t.Helper()
	job := s.Call(t, key, http.MethodPost, "/api/v2/vps/"+vps+"/backups/"+backup+"/actions/restore-to-payg", nil).Queued(t)
	var v struct{ VPSID string }
	service.Answer{Body: s.Await(t, key, job, patience).Result}.Decode(t, &v)
	if v.VPSID == "" || v.VPSID == vps {
		t.Fatalf("the restore made %q", v.VPSID)
	}
	return v.VPSID
}

func startLog(t *testing.T, web string) {
	t.Helper()
	get(t, web+"/boots")
	// Once, however long it takes: a second request would find the log begun.
	ctx, cancel := withPatience(t)
	defer cancel()
	if _, err := vmtest.Get(ctx, web+"/log/start?dev=/dev/vdb&dev=/dev/vdc"); err != nil {
		t.Fatal(err)
	}
}

func stopLog(t *testing.T, web string) {
	t.Helper()
	get(t, web+"/log/stop")
}

func get(t *testing.T, url string) string {
	t.Helper()
	ctx, cancel := withPatience(t)
	defer cancel()
	s, err := vmtest.WaitHTTP(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(s)
}

func put(t *testing.T, url, content string) {
	t.Helper()
	ctx, cancel := withPatience(t)
	defer cancel()
	if _, err := vmtest.Put(ctx, url, strings.NewReader(content)); err != nil {
		t.Fatal(fmt.Errorf("PUT %s: %w", url, err))
	}
}
