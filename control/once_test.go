package control_test

import (
	"errors"
	"testing"
	"time"

	"holdfast"
	"holdfast/control"
	"holdfast/store"
)

// An answer that cannot be kept undoes what it was about: key and operation
// never disagree, wherever a process dies between the two.
func TestAnswerAndEffectAreOne(t *testing.T) {
	w := newGateWorld(t)
	caller, v := w.customer()
	boom := errors.New("dies here")
	once := &control.Once{Method: "POST", Path: "/p", Key: "k", Fingerprint: "f",
		Answer: func(holdfast.Operation) (control.Answer, error) { return control.Answer{}, boom }}
	if _, err := w.control.CreateBackup(w.ctx(), caller, v.ID.String(), "", once); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	list, err := w.control.ListBackups(w.ctx(), caller, v.ID.String())
	w.ok(err)
	ops, err := w.store.ActiveOperations(w.ctx(), v.ID)
	w.ok(err)
	if len(list.Backups) != 0 || list.Quota.Used != 0 || len(ops) != 0 {
		t.Fatalf("something was written: %+v %v", list, ops)
	}
	if a, err := w.control.Replay(w.ctx(), caller, once); a != nil || err != nil {
		t.Fatalf("%v %v", a, err)
	}
	// The key is free at once: there is no owner to wait for.
	once.Answer = func(o holdfast.Operation) (control.Answer, error) {
		return control.Answer{Status: 202, Body: []byte(o.ID)}, nil
	}
	first, err := w.control.CreateBackup(w.ctx(), caller, v.ID.String(), "", once)
	w.ok(err)
	second, err := w.control.CreateBackup(w.ctx(), caller, v.ID.String(), "", once)
	w.ok(err)
	if second.Replay == nil || string(second.Replay.Body) != first.Operation.ID.String() || second.Replay.Status != 202 {
		t.Fatalf("%+v", second)
	}
	once.Fingerprint = "g"
	if _, err := w.control.CreateBackup(w.ctx(), caller, v.ID.String(), "", once); holdfast.CodeOf(err) != holdfast.CodeIdempotencyKeyReused {
		t.Fatal(err)
	}
}

// customer is an account that may do everything, and its VPS.
func (w *gateWorld) customer() (control.Caller, holdfast.VPS) { return w.customerNamed("customer") }

func (w *gateWorld) customerNamed(name string) (control.Caller, holdfast.VPS) {
	a := holdfast.Account{
		ID: holdfast.NewID[holdfast.AccountID](), Name: name, Active: true, BackupSlots: -1,
		Cloud: holdfast.CloudFacts{Verified: true, CardOnFile: true, CloudAccess: true, Limits: holdfast.CloudResources{CPUCores: 99, MemoryGb: 99, StorageGb: 9999, Instances: 99}},
	}
	v := w.vps(a.ID)
	w.tx(func(tx *store.Tx) error { return errors.Join(tx.InsertAccount(w.ctx(), a), tx.InsertVPS(w.ctx(), v)) })
	w.ok(w.control.TouchHost(w.ctx(), w.host))
	return control.Caller{Account: a.ID, Key: holdfast.NewID[holdfast.KeyID](), Scopes: holdfast.AllScopes()}, v
}

func TestWaitJob(t *testing.T) {
	w := newGateWorld(t)
	caller, v := w.customer()
	accepted, err := w.control.CreateBackup(w.ctx(), caller, v.ID.String(), "", nil)
	w.ok(err)
	id := accepted.Operation.ID
	seen := 0
	o, err := w.control.WaitJob(w.ctx(), id.String(), time.Millisecond, func(holdfast.Operation) {
		if seen++; seen == 3 {
			w.tx(func(tx *store.Tx) error {
				if _, err := tx.ClaimOperation(w.ctx(), w.host, []holdfast.Kind{holdfast.KindBackup}, "r", time.Minute); err != nil {
					return err
				}
				return tx.EndOperation(w.ctx(), store.Held{Job: id, Epoch: 1, Runner: "r"}, []byte(`{}`), nil)
			})
		}
	})
	if err != nil || o.Status != holdfast.OperationCompleted || seen < 4 {
		t.Fatalf("%+v %v after %d", o.Status, err, seen)
	}
	if _, err := w.control.WaitJob(w.ctx(), "job_x", time.Millisecond, nil); holdfast.CodeOf(err) != holdfast.CodeJobNotFound {
		t.Fatal(err)
	}
}
