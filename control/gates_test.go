package control_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast"
	"holdfast/control"
	"holdfast/internal/testpg"
	"holdfast/store"
)

// gateWorld is a control plane over a database, and the ways to bring a VPS
// into any state.
type gateWorld struct {
	t       *testing.T
	store   *store.Store
	control *control.Control
	host    holdfast.HostID
	made    int
}

func newGateWorld(t *testing.T) *gateWorld {
	t.Helper()
	return newGateWorldAt(t, filepath.Join(t.TempDir(), "db"))
}

func newGateWorldAt(t *testing.T, path string) *gateWorld {
	t.Helper()
	s, err := store.Open(t.Context(), testpg.At(t, path), store.WithReserve(0))
	w := &gateWorld{t: t, store: s}
	w.ok(err)
	t.Cleanup(func() { w.ok(s.Close()) })
	w.control = control.New(s, control.Options{WrapKey: func(context.Context, holdfast.AccountID) ([]byte, error) { return []byte("k"), nil }})
	_, err = w.control.CreateRegion(t.Context(), control.RegionInfo{ID: "here", Default: true})
	w.ok(err)
	h, err := w.control.RegisterHost(t.Context(), control.RegisterHostInput{Name: "h", Region: "here"})
	w.ok(err)
	w.host = holdfast.HostID(h.ID)
	return w
}

func (w *gateWorld) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *gateWorld) ctx() context.Context { return w.t.Context() }

func (w *gateWorld) tx(f func(*store.Tx) error) {
	w.t.Helper()
	w.ok(w.store.Tx(w.ctx(), f))
}

// any draws a caller and a VPS in any state that there is.
func (w *gateWorld) any(t *rapid.T) (control.Caller, holdfast.VPS) {
	w.made++
	ctx := w.ctx()
	flag := func(name string) bool {
		return rapid.SampledFrom([]bool{true, true, true, true, true, true, true, false}).Draw(t, name)
	}
	limit := func(name string, tight ...int) int {
		return rapid.SampledFrom(append(tight, 9999, 9999, 9999, 9999, 9999)).Draw(t, name)
	}
	a := holdfast.Account{
		ID: holdfast.NewID[holdfast.AccountID](), Name: fmt.Sprint("a", w.made), Active: flag("active"),
		BackupSlots: rapid.SampledFrom([]int{-1, 50, 3, 1}).Draw(t, "slots"),
		Cloud: holdfast.CloudFacts{
			Verified: flag("verified"), CardOnFile: flag("card"), CloudAccess: flag("access"), UnpaidInvoice: !flag("paid"),
			Limits: holdfast.CloudResources{
				CPUCores: limit("cpus", 0, 2), MemoryGb: limit("memory", 0, 3),
				StorageGb: limit("storage", 50, 120), Instances: limit("instances", 0, 2),
			},
		},
	}
	w.tx(func(tx *store.Tx) error { return tx.InsertAccount(ctx, a) })
	v := w.vps(a.ID)
	v.Service = rapid.SampledFrom([]holdfast.ServiceStatus{"active", "active", "active", "suspended", "terminated", "pending"}).Draw(t, "service")
	v.Power = rapid.SampledFrom([]holdfast.PowerState{"running", "running", "stopped", "provisioning", "error"}).Draw(t, "power")
	v.CPUCores, v.MemoryMiB = rapid.IntRange(1, 40).Draw(t, "cores"), rapid.IntRange(64, 9000).Draw(t, "mib")
	v.Disks = []holdfast.VPSDisk{{Name: "disk0", SizeBytes: rapid.Int64Range(1, 250).Draw(t, "size") * holdfast.GiB}}
	w.tx(func(tx *store.Tx) error { return tx.InsertVPS(ctx, v) })
	for range rapid.IntRange(0, 2).Draw(t, "cloud VMs") {
		other := w.vps(a.ID)
		other.Billing.IsPayg = true
		w.tx(func(tx *store.Tx) error { return tx.InsertVPS(ctx, other) })
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "backups") {
		status := rapid.SampledFrom([]holdfast.BackupStatus{"completed", "completed", "failed", "deleted"}).Draw(t, fmt.Sprint("backup", i))
		w.backup(v, status)
	}
	if !flag("idle") {
		lock := rapid.SampledFrom([]holdfast.Lock{holdfast.LockData, holdfast.LockPower}).Draw(t, "lock")
		w.tx(func(tx *store.Tx) error {
			return tx.InsertOperation(ctx, holdfast.Operation{ID: holdfast.NewID[holdfast.JobID](), Kind: holdfast.KindVPSStop, AccountID: a.ID, VPSID: v.ID, HostID: w.host, Lock: lock})
		})
	}
	_, err := w.control.EnableHost(ctx, control.EnableHostInput{Host: "h", Enabled: flag("host")})
	w.ok(err)
	w.ok(w.control.TouchHost(ctx, w.host))
	scopes := holdfast.Scopes{holdfast.ScopeReadVM}
	for _, s := range []holdfast.Scope{holdfast.ScopeBackupVM, holdfast.ScopeWriteBilling} {
		if flag(string(s)) {
			scopes = append(scopes, s)
		}
	}
	return control.Caller{Account: a.ID, Key: holdfast.NewID[holdfast.KeyID](), Scopes: scopes}, v
}

func (w *gateWorld) vps(account holdfast.AccountID) holdfast.VPS {
	id := holdfast.NewID[holdfast.VPSID]()
	return holdfast.VPS{
		ID: id, AccountID: account, Region: "here", HostID: w.host, Name: "v", Service: holdfast.ServiceActive, Power: holdfast.PowerRunning,
		CPUCores: 1, MemoryMiB: 1024, Disks: []holdfast.VPSDisk{{Name: "disk0", SizeBytes: 50 * holdfast.GiB}}, MAC: string(id), Generation: 1,
		Billing: holdfast.Billing{Currency: "EUR", Cycle: "monthly"}, CreatedAt: time.Now(),
	}
}

func (w *gateWorld) backup(v holdfast.VPS, status holdfast.BackupStatus) holdfast.Backup {
	b := holdfast.Backup{
		ID: holdfast.NewID[holdfast.BackupID](), AccountID: v.AccountID, VPSID: v.ID, Status: status, Type: "manual",
		RequestedAt: time.Now(), PointAt: time.Now(), Disks: v.Disks, CPUCores: v.CPUCores, MemoryMiB: v.MemoryMiB, SizeBytes: v.StorageBytes(),
	}
	w.tx(func(tx *store.Tx) error { return tx.InsertBackup(w.ctx(), b) })
	return b
}

// The one-check rule, in every state that can be drawn: a shut gate's code is
// the call's, and an open gate's call is not refused for what the gate knew.
func TestGatesAndCallsAgree(t *testing.T) {
	w := newGateWorld(t)
	rapid.Check(t, func(t *rapid.T) {
		caller, v := w.any(t)
		list, err := w.control.ListBackups(w.ctx(), caller, v.ID.String())
		w.ok(err)
		_, err = w.control.CreateBackup(w.ctx(), caller, v.ID.String(), "", nil)
		if got := holdfast.CodeOf(err); got != list.Gates.Create.Code {
			t.Fatalf("create: the gate has %q, the call %v", list.Gates.Create.Code, err)
		}
		for _, b := range list.Backups {
			w.agreeOnRestore(t, caller, list.Gates.RestoreToPayg, b)
		}
		if len(list.Backups) == 0 && list.Gates.RestoreToPayg.Allowed {
			t.Fatal("restore: the gate is open without a backup")
		}
	})
}

func (w *gateWorld) agreeOnRestore(t *rapid.T, caller control.Caller, gate holdfast.Gate, b holdfast.Backup) {
	one := 1
	for _, req := range []holdfast.PaygRequest{{}, {CPUCores: &one, MemoryGb: &one}} {
		_, err := w.control.RestoreToPayg(w.ctx(), caller, b.VPSID.String(), b.ID.String(), req, nil)
		code := holdfast.CodeOf(err)
		switch {
		case !gate.Allowed && code != gate.Code:
			t.Fatalf("restore: the gate has %q, the call %v", gate.Code, err)
		case gate.Allowed && req.CPUCores != nil && code != "" && code != holdfast.CodeHostUnavailable && code != holdfast.CodeRegionCapacity &&
			code != holdfast.CodeCPULimitExceeded && code != holdfast.CodeMemoryLimitExceeded && code != holdfast.CodeStorageLimitExceeded && code != holdfast.CodeInstanceLimitExceeded:
			t.Fatalf("restore: the gate is open, the call %v", err)
		case err == nil:
			return // what it took may shut the gate for the next
		}
	}
}

// The smallest call through an open gate goes through.
func TestOpenGateLetsTheSmallestThrough(t *testing.T) {
	w := newGateWorld(t)
	through := 0
	rapid.Check(t, func(t *rapid.T) {
		caller, v := w.any(t)
		_, err := w.control.EnableHost(w.ctx(), control.EnableHostInput{Host: "h", Enabled: true})
		w.ok(err)
		list, err := w.control.ListBackups(w.ctx(), caller, v.ID.String())
		w.ok(err)
		if !list.Gates.RestoreToPayg.Allowed {
			return
		}
		one := 1
		if _, err := w.control.RestoreToPayg(w.ctx(), caller, v.ID.String(), list.Backups[0].ID.String(), holdfast.PaygRequest{CPUCores: &one, MemoryGb: &one}, nil); err != nil {
			t.Fatal(err)
		}
		through++
	})
	if through == 0 {
		t.Error("no gate was ever open")
	}
}
