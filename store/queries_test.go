package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"holdfast"
	"holdfast/store"
)

func TestAnotherAccountsRowsDoNotExist(t *testing.T) {
	s, ctx := open(t), t.Context()
	w, other := newWorld(t, s), newWorld(t, s)
	v, foreign := w.vps(t), other.vps(t)
	b := w.backup(v)
	o := w.operation(v, holdfast.KindBackup, holdfast.LockData)
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertVPS(ctx, v), tx.InsertVPS(ctx, foreign), tx.InsertBackup(ctx, b), tx.InsertOperation(ctx, o))
	})
	for what, try := range map[string]func() error{
		"vps":                       func() error { _, err := s.VPSOf(ctx, other.account.ID, v.ID); return err },
		"backup of another account": func() error { _, err := s.BackupOf(ctx, other.account.ID, v.ID, b.ID); return err },
		"backup under another vps":  func() error { _, err := s.BackupOf(ctx, w.account.ID, foreign.ID, b.ID); return err },
		"operation":                 func() error { _, err := s.OperationOf(ctx, other.account.ID, o.ID); return err },
		"a key revoked by another": func() error {
			return s.Tx(ctx, func(tx *store.Tx) error { return tx.RevokeAPIKey(ctx, other.account.ID, o.KeyID) })
		},
		"an account that is not there": func() error { _, err := s.Account(ctx, "acct_x"); return err },
	} {
		if err := try(); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	list, more, err := s.ListShownVPS(ctx, other.account.ID, store.VPSFilter{}, store.Page{Limit: 10})
	if err != nil || more || len(list) != 1 || list[0].ID != foreign.ID {
		t.Errorf("%v %v %v", list, more, err)
	}
	ops, _, err := s.ListOperations(ctx, other.account.ID, store.OperationFilter{Resource: string(v.ID)}, store.Page{Limit: 10})
	if err != nil || len(ops) != 0 {
		t.Errorf("%v %v", ops, err)
	}
}

func TestPagesMeetWithoutGapOrOverlap(t *testing.T) {
	s, ctx := open(t), t.Context()
	w := newWorld(t, s)
	var want []holdfast.VPSID // the newest first; several of one instant
	for i := range 11 {
		v := w.vps(t)
		v.CreatedAt = noon.Add(time.Duration(i/3) * time.Microsecond)
		want = append([]holdfast.VPSID{v.ID}, want...)
		write(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.InsertVPS(ctx, v) })
	}
	for limit := 1; limit <= 12; limit++ {
		var got []holdfast.VPSID
		p := store.Page{Limit: limit}
		for more := true; more; {
			var list []holdfast.VPS
			var err error
			list, more, err = s.ListShownVPS(ctx, w.account.ID, store.VPSFilter{}, p)
			if err != nil || len(list) > limit || len(list) == 0 {
				t.Fatal(len(list), err)
			}
			for _, v := range list {
				got = append(got, v.ID)
			}
			last := list[len(list)-1]
			p.After = store.Cursor{At: last.CreatedAt, ID: string(last.ID)}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("limit %d: %v, want %v", limit, got, want)
		}
	}
}

func TestFilters(t *testing.T) {
	s, ctx := open(t), t.Context()
	w := newWorld(t, s)
	v, x := w.vps(t), w.vps(t)
	v.Name, v.PrimaryIP = "Ånga-01", "192.0.2.1"
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertVPS(ctx, v), tx.InsertVPS(ctx, x))
	})
	for f, n := range map[store.VPSFilter]int{
		{}: 2, {Name: "åNGA-01"}: 1, {Name: "nga-01"}: 0, {Name: "%"}: 0, {PrimaryIP: "192.0.2.1"}: 1,
		{PrimaryIP: "192.0.2.1", Name: x.Name}: 0, {Name: `' OR 1=1 --`}: 0,
	} {
		list, _, err := s.ListShownVPS(ctx, w.account.ID, f, store.Page{Limit: 10})
		if err != nil || len(list) != n {
			t.Errorf("%+v: %d, %v", f, len(list), err)
		}
	}
}

func TestUsedCloudCountsWhatIsThere(t *testing.T) {
	s, ctx := open(t), t.Context()
	w := newWorld(t, s)
	used, err := s.UsedCloud(ctx, w.account.ID)
	same(t, "nothing", used, err, holdfast.CloudResources{})
	provisioning, terminated, plain := w.vps(t), w.vps(t), w.vps(t)
	provisioning.Power = holdfast.PowerProvisioning
	terminated.Service = holdfast.ServiceTerminated
	plain.Billing.IsPayg = false
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertVPS(ctx, w.vps(t)), tx.InsertVPS(ctx, provisioning), tx.InsertVPS(ctx, terminated), tx.InsertVPS(ctx, plain))
	})
	// Each has 1025 MiB and 1 GiB + 1 byte: both round up, VM by VM.
	used, err = s.UsedCloud(ctx, w.account.ID)
	same(t, "two", used, err, holdfast.CloudResources{CPUCores: 4, MemoryGb: 4, StorageGb: 4, Instances: 2})
	used, err = s.UsedHost(ctx, w.host.ID)
	same(t, "on the host", used, err, holdfast.CloudResources{CPUCores: 6, MemoryGb: 6, StorageGb: 6, Instances: 3})
	on, err := s.VPSOfHost(ctx, w.host.ID)
	if err != nil || len(on) != 3 {
		t.Errorf("%d on the host, %v", len(on), err)
	}
}

func TestLocksExcludeOneAnother(t *testing.T) {
	s, ctx := open(t), t.Context()
	w := newWorld(t, s)
	v, x := w.vps(t), w.vps(t)
	add := func(v holdfast.VPS, lock holdfast.Lock) (holdfast.Operation, error) {
		o := w.operation(v, holdfast.KindBackup, lock)
		return o, s.Tx(ctx, func(tx *store.Tx) error { return tx.InsertOperation(ctx, o) })
	}
	first, err := add(v, holdfast.LockData)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		vps  holdfast.VPS
		lock holdfast.Lock
		want error
	}{
		{v, holdfast.LockData, store.ErrConflict}, {v, holdfast.LockPower, nil}, {v, holdfast.LockPower, store.ErrConflict},
		{v, holdfast.LockNone, nil}, {v, holdfast.LockNone, nil}, {x, holdfast.LockData, nil},
	} {
		if _, err := add(c.vps, c.lock); !errors.Is(err, c.want) {
			t.Errorf("%q: %v", c.lock, err)
		}
	}
	got, err := s.ActiveOperation(ctx, v.ID, holdfast.LockData)
	same(t, "holder", got, err, first)
	// The end of an operation ends its lock.
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		o, err := tx.ClaimOperation(ctx, w.host.ID, []holdfast.Kind{holdfast.KindBackup}, "r", time.Minute)
		if err != nil || o.ID != first.ID {
			return fmt.Errorf("claimed %s: %w", o.ID, err)
		}
		return tx.EndOperation(ctx, store.Held{Job: o.ID, Epoch: 1, Runner: "r"}, nil, &holdfast.Failure{Code: holdfast.CodeCancelled, Extensions: map[string]any{"a": "b"}})
	})
	if _, err := add(v, holdfast.LockData); err != nil {
		t.Error(err)
	}
	ended, err := s.Operation(ctx, first.ID)
	if err != nil || ended.Failure == nil || ended.Failure.Extensions["a"] != "b" || ended.Result != nil || ended.FinishedAt.IsZero() {
		t.Errorf("%+v %v", ended, err)
	}
}

func TestBackupsOfAVPS(t *testing.T) {
	s, ctx := open(t), t.Context()
	w := newWorld(t, s)
	v := w.vps(t)
	var ids []holdfast.BackupID
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		err := tx.InsertVPS(ctx, v)
		for i := range 5 {
			b := w.backup(v)
			b.RequestedAt = noon.Add(time.Duration(i) * time.Hour)
			ids = append(ids, b.ID)
			err = errors.Join(err, tx.InsertBackup(ctx, b))
		}
		at := func(i int) holdfast.BackupReport {
			r := holdfast.BackupReport{
				PointAt: noon.Add(-time.Duration(i) * time.Minute), SizeBytes: 7, Incremental: holdfast.IncrementalFull, ConsistencyReason: "no agent",
			}
			if i == 0 {
				r.Latency = &holdfast.BackupLatency{During: holdfast.WriteLatency{Writes: 3, P50: 200, P99: 500}}
			}
			return r
		}
		return errors.Join(err, tx.CompleteBackup(ctx, ids[0], at(0)), tx.CompleteBackup(ctx, ids[1], at(1)),
			tx.SetBackupStatus(ctx, ids[2], holdfast.BackupPending, holdfast.BackupFailed),
			tx.SetBackupStatus(ctx, ids[3], holdfast.BackupPending, holdfast.BackupDeleted))
	})
	n, err := s.UsedSlots(ctx, v.ID)
	same(t, "used slots", n, err, 3)
	all, err := s.BackupsOfVPS(ctx, v.ID)
	if err != nil || len(all) != 5 || all[0].ID != ids[4] || all[4].ID != ids[0] {
		t.Errorf("%v %v", all, err)
	}
	done, err := s.CompletedBackups(ctx, v.ID)
	if err != nil || len(done) != 2 || done[0].ID != ids[0] || done[0].SizeBytes != 7 ||
		done[0].ConsistencyReason != "no agent" || done[0].Latency == nil || done[0].Latency.During.P99 != 500 || done[1].Latency != nil {
		t.Errorf("%v %v", done, err)
	}
	for what, change := range map[string]func(tx *store.Tx) error{
		"complete twice": func(tx *store.Tx) error { return tx.CompleteBackup(ctx, ids[0], holdfast.BackupReport{}) },
		"fail a completed one": func(tx *store.Tx) error {
			return tx.SetBackupStatus(ctx, ids[0], holdfast.BackupPending, holdfast.BackupFailed)
		},
		"remove a live one": func(tx *store.Tx) error { return tx.DeleteBackup(ctx, ids[0]) },
	} {
		if err := s.Tx(ctx, change); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestJournalIsBounded(t *testing.T) {
	s, ctx := open(t), t.Context()
	w := newWorld(t, s)
	o := w.operation(w.vps(t), holdfast.KindBackup, holdfast.LockNone)
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.InsertOperation(ctx, o); err != nil {
			return err
		}
		_, err := tx.ClaimOperation(ctx, w.host.ID, []holdfast.Kind{o.Kind}, "r", time.Minute)
		return err
	})
	h := store.Held{Job: o.ID, Epoch: 1, Runner: "r"}
	put := func(name string, size int) error {
		return s.Tx(ctx, func(tx *store.Tx) error { return tx.PutJournal(ctx, h, name, bytes.Repeat([]byte("x"), size)) })
	}
	for range 10 { // an entry that is replaced counts once
		if err := put("same", 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		err = put(fmt.Sprint(n), 1<<20)
	}
	if !errors.Is(err, store.ErrTooLarge) || n != 7 {
		t.Errorf("after %d more: %v", n, err)
	}
	if err := put("too large", 1<<20+1); !errors.Is(err, store.ErrTooLarge) {
		t.Error(err)
	}
	if err := put("", 1); !errors.Is(err, store.ErrTooLarge) {
		t.Error(err)
	}
}

// A caller may put any bytes into a note, a name or a key.
func TestHostileStrings(t *testing.T) {
	s, ctx := open(t), t.Context()
	w := newWorld(t, s)
	v := w.vps(t)
	v.Name = "a"
	write(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.InsertVPS(ctx, v) })
	for in, out := range map[string]string{
		"\x00": "\uFFFD", "a\x00b": "a\uFFFDb", "\xff\xfe": "\uFFFD\uFFFD", "'; DROP TABLE vps; --": "'; DROP TABLE vps; --",
		"?0 ?1 ?name \\' \"": "?0 ?1 ?name \\' \"", "{{.}} %s \u202e": "{{.}} %s \u202e", "a' OR '1'='1": "a' OR '1'='1",
	} {
		b := w.backup(v)
		b.Note, b.Disks, b.Boot.Cmdline = in, []holdfast.VPSDisk{{Name: out}}, out
		write(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.InsertBackup(ctx, b) })
		got, err := s.Backup(ctx, b.ID)
		b.Note = out
		same(t, fmt.Sprintf("%q", in), got, err, b)
		list, _, err := s.ListShownVPS(ctx, w.account.ID, store.VPSFilter{Name: in}, store.Page{Limit: 1})
		if err != nil || len(list) != 0 {
			t.Errorf("%q: %v, %v", in, list, err)
		}
	}
}

// A terminated VPS shows for as long as it has a backup that can be restored.
func TestTerminatedVPSShowsByItsBackups(t *testing.T) {
	s, ctx := open(t), t.Context()
	w := newWorld(t, s)
	v := w.vps(t)
	v.Service = holdfast.ServiceTerminated
	b := w.backup(v)
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertVPS(ctx, v), tx.InsertBackup(ctx, b))
	})
	shown := func() int {
		t.Helper()
		list, _, err := s.ListShownVPS(ctx, w.account.ID, store.VPSFilter{}, store.Page{Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if shown() != 0 {
		t.Error("shown for a backup that is not completed")
	}
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		return tx.CompleteBackup(ctx, b.ID, holdfast.BackupReport{PointAt: noon})
	})
	if shown() != 1 {
		t.Error("not shown for its completed backup")
	}
}

func TestRegionsHaveOneDefault(t *testing.T) {
	s, ctx := open(t), t.Context()
	newWorld(t, s)
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		return tx.PutRegion(ctx, holdfast.Region{ID: "oslo", Name: "Oslo", Default: true, CreatedAt: noon})
	})
	r, err := s.DefaultRegion(ctx)
	if err != nil || r.ID != "oslo" {
		t.Errorf("%+v %v", r, err)
	}
	if list, err := s.Regions(ctx); err != nil || len(list) != 2 {
		t.Errorf("%v %v", list, err)
	}
}

func TestHostsSignOfLife(t *testing.T) {
	now := noon
	s := open(t, store.WithWallClock(func() time.Time { return now }))
	w := newWorld(t, s)
	for _, c := range []struct {
		pass time.Duration
		want time.Duration // since noon
	}{{5 * time.Second, 0}, {5 * time.Second, 10 * time.Second}, {time.Second, 10 * time.Second}, {-time.Hour, 11*time.Second - time.Hour}} {
		now = now.Add(c.pass)
		write(t, s, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.TouchHost(ctx, w.host.ID, 10*time.Second), tx.PutHost(ctx, w.host), tx.TouchHost(ctx, "host_unknown", 0))
		})
		h, err := s.Host(t.Context(), w.host.ID)
		if err != nil || h.SeenAt.Sub(noon) != c.want {
			t.Errorf("seen %v after noon, want %v: %v", h.SeenAt.Sub(noon), c.want, err)
		}
	}
}
