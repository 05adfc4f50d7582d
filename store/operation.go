package store

import (
	"context"
	"encoding/json"

	"github.com/uptrace/bun"

	"holdfast"
)

type operationRow struct {
	bun.BaseModel `bun:"table:operations,alias:operations"`

	ID           holdfast.JobID `bun:",pk"`
	Kind         holdfast.Kind
	AccountID    holdfast.AccountID
	VPSID        holdfast.VPSID `bun:"vps_id"`
	BackupID     holdfast.BackupID
	HostID       holdfast.HostID
	Place        string
	KeyID        holdfast.KeyID
	Lock         holdfast.Lock `bun:"lock_name"`
	Status       holdfast.OperationStatus
	Input        string
	Result       *string
	Failure      *holdfast.Failure `bun:"failure,type:text"`
	Progress     holdfast.Progress `bun:"progress,type:text"`
	Epoch        int64
	Runner       string
	LeaseUntil   micros
	LeaseTTL     int64 `bun:"lease_ttl"`
	NotBefore    micros
	Attempts     int
	Cancel       bool
	JournalBytes int64
	CreatedAt    micros
	StartedAt    micros
	FinishedAt   micros
}

func newOperationRow(o holdfast.Operation) *operationRow {
	input := string(o.Input)
	if input == "" {
		input = "{}"
	}
	return &operationRow{
		ID: o.ID, Kind: o.Kind, AccountID: o.AccountID, VPSID: o.VPSID, BackupID: o.BackupID,
		HostID: o.HostID, Place: o.Place, KeyID: o.KeyID, Lock: o.Lock, Status: o.Status, Input: input,
		Failure: o.Failure, Progress: o.Progress, Epoch: o.Epoch, Runner: o.Runner,
		LeaseUntil: toMicros(o.LeaseUntil), NotBefore: toMicros(o.NotBefore), Attempts: o.Attempts, Cancel: o.Cancel,
		CreatedAt: toMicros(o.CreatedAt), StartedAt: toMicros(o.StartedAt), FinishedAt: toMicros(o.FinishedAt),
	}
}

func (r operationRow) domain() holdfast.Operation {
	o := holdfast.Operation{
		ID: r.ID, Kind: r.Kind, AccountID: r.AccountID, VPSID: r.VPSID, BackupID: r.BackupID,
		HostID: r.HostID, Place: r.Place, KeyID: r.KeyID, Lock: r.Lock, Status: r.Status, Input: json.RawMessage(r.Input),
		Failure: r.Failure, Progress: r.Progress, Epoch: r.Epoch, Runner: r.Runner,
		LeaseUntil: r.LeaseUntil.time(), NotBefore: r.NotBefore.time(), Attempts: r.Attempts, Cancel: r.Cancel,
		CreatedAt: r.CreatedAt.time(), StartedAt: r.StartedAt.time(), FinishedAt: r.FinishedAt.time(),
	}
	if r.Result != nil {
		o.Result = json.RawMessage(*r.Result)
	}
	return o
}

// activeOperation is the condition under which an operation holds its locks; it
// is that of the partial unique index too.
const activeOperation = "status IN ('queued', 'in_progress')"

// Operation reads an operation of any account, or ErrNotFound. For what a
// customer asks, use OperationOf.
func (q *queries) Operation(ctx context.Context, id holdfast.JobID) (holdfast.Operation, error) {
	return one[operationRow](ctx, q, "operation", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Where("id = ?", id) })
}

// OperationOf reads an operation of an account; ErrNotFound too when it is
// another's.
func (q *queries) OperationOf(ctx context.Context, account holdfast.AccountID, id holdfast.JobID) (holdfast.Operation, error) {
	return one[operationRow](ctx, q, "operation of account", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("id = ? AND account_id = ?", id, account)
	})
}

// ActiveOperation reads the operation that holds a lock of a VPS, or
// ErrNotFound.
func (q *queries) ActiveOperation(ctx context.Context, vps holdfast.VPSID, lock holdfast.Lock) (holdfast.Operation, error) {
	return one[operationRow](ctx, q, "active operation", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("vps_id = ? AND lock_name = ?", vps, lock).Where(activeOperation)
	})
}

// ActiveOperations lists all operations of a VPS that have not ended, the
// oldest first.
func (q *queries) ActiveOperations(ctx context.Context, vps holdfast.VPSID) ([]holdfast.Operation, error) {
	return all[operationRow](ctx, q, "active operations", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("vps_id = ?", vps).Where(activeOperation).Order("created_at", "id")
	})
}

// OperationOnBackup reads an operation that has not ended and makes, reads or
// deletes a backup at its first place, or ErrNotFound: such a backup is pinned.
// Upkeep pins nothing.
func (q *queries) OperationOnBackup(ctx context.Context, backup holdfast.BackupID) (holdfast.Operation, error) {
	return one[operationRow](ctx, q, "operation on backup", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("backup_id = ? AND place = ''", backup).Where(activeOperation).Order("created_at", "id")
	})
}

// Upkeep reads the operation of a kind that has not ended and works on a place, on
// one backup there or (backup "") on the account's vault, or ErrNotFound.
func (q *queries) Upkeep(ctx context.Context, kind holdfast.Kind, account holdfast.AccountID, backup holdfast.BackupID, place string) (holdfast.Operation, error) {
	return one[operationRow](ctx, q, "upkeep", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("kind = ? AND account_id = ? AND backup_id = ? AND place = ?", kind, account, backup, place).Where(activeOperation)
	})
}

// Running lists the operations of a kind that a runner holds.
func (q *queries) Running(ctx context.Context, kind holdfast.Kind) ([]holdfast.Operation, error) {
	return all[operationRow](ctx, q, "running operations", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("kind = ? AND status = ?", kind, holdfast.OperationInProgress).Order("created_at", "id")
	})
}

// OperationFilter narrows a list of operations; empty fields do not.
type OperationFilter struct {
	Resource string         // the id of a VPS or a backup
	Key      holdfast.KeyID // who started it
	Status   holdfast.OperationStatus
	Kind     holdfast.Kind
}

// ListOperations is a page of an account's operations, without those of upkeep,
// and whether there is more.
func (q *queries) ListOperations(ctx context.Context, account holdfast.AccountID, f OperationFilter, p Page) ([]holdfast.Operation, bool, error) {
	return page[operationRow](ctx, q, "list operations", p, func(s *bun.SelectQuery) *bun.SelectQuery {
		s = s.Where("account_id = ? AND place = '' AND kind <> ?", account, holdfast.KindGenerationDrop) // upkeep is no customer's
		if f.Resource != "" {
			s = s.Where("(vps_id = ? OR backup_id = ?)", f.Resource, f.Resource)
		}
		if f.Key != "" {
			s = s.Where("key_id = ?", f.Key)
		}
		if f.Status != "" {
			s = s.Where("status = ?", f.Status)
		}
		if f.Kind != "" {
			s = s.Where("kind = ?", f.Kind)
		}
		return s
	})
}

// InsertOperation queues a new operation. ErrConflict: another operation holds
// its lock on the VPS. Its creation is now when it names none.
func (t *Tx) InsertOperation(ctx context.Context, o holdfast.Operation) error {
	if o.CreatedAt.IsZero() {
		now, err := t.Now(ctx)
		if err != nil {
			return err
		}
		o.CreatedAt = now
	}
	if o.Status == "" {
		o.Status = holdfast.OperationQueued
	}
	if err := t.insert(ctx, "insert operation", newOperationRow(o)); err != nil {
		return err
	}
	t.queued = true
	return nil
}

// RequestCancel asks for the end of an operation; its runner learns of it with
// its next renewal, or the next one at once, if it was to be tried again later.
// ErrNotFound when it has ended.
func (t *Tx) RequestCancel(ctx context.Context, id holdfast.JobID) error {
	res, err := t.db.NewUpdate().Model((*operationRow)(nil)).Set("cancel = ?", true).Set("not_before = 0").
		Where("id = ?", id).Where(activeOperation).Exec(ctx)
	if err := touched("request cancel", res, err); err != nil {
		return err
	}
	t.queued = true
	return nil
}

// EndUnbegun ends an operation that no runner has ever claimed as cancelled.
// ErrNotFound when one has, or it has ended.
func (t *Tx) EndUnbegun(ctx context.Context, id holdfast.JobID, failure *holdfast.Failure) error {
	now, err := t.Now(ctx)
	if err != nil {
		return err
	}
	r := operationRow{Status: holdfast.OperationFailed, FinishedAt: toMicros(now), Failure: failure, Cancel: true}
	res, err := t.db.NewUpdate().Model(&r).Column("status", "failure", "finished_at", "cancel").
		Where("id = ? AND status = ? AND epoch = 0", id, holdfast.OperationQueued).Exec(ctx)
	return touched("end unbegun", res, err)
}
