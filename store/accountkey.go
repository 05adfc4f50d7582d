package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"holdfast"
)

// SetAccountKeys writes an account's wrapped key and the one that a rotation puts
// in its place; ErrNotFound too when its key was destroyed.
func (t *Tx) SetAccountKeys(ctx context.Context, id holdfast.AccountID, wrapped, next []byte) error {
	res, err := t.db.NewUpdate().Model((*accountRow)(nil)).
		Set("wrapped_key = ?", bytesOf(wrapped)).Set("next_wrapped_key = ?", bytesOf(next)).
		Where("id = ? AND shredded_at = 0", id).Exec(ctx)
	return touched("set account keys", res, err)
}

// RaiseRingEpoch notes how far an account's data keys have come; it never falls.
func (t *Tx) RaiseRingEpoch(ctx context.Context, id holdfast.AccountID, epoch uint32) error {
	res, err := t.db.NewUpdate().Model((*accountRow)(nil)).
		Set("ring_epoch = CASE WHEN ring_epoch < ? THEN ? ELSE ring_epoch END", epoch, epoch).Where("id = ?", id).Exec(ctx)
	return touched("raise ring epoch", res, err)
}

// ShredAccount destroys an account's wrapped keys, and makes its completed backups
// deleted ones; it says how many. ErrNotFound too when it was done already.
// Until Scrub, copies of the keys may lie in the database's files.
func (t *Tx) ShredAccount(ctx context.Context, id holdfast.AccountID, at time.Time) (backups int, err error) {
	res, err := t.db.NewUpdate().Model((*accountRow)(nil)).
		Set("wrapped_key = ?", []byte{}).Set("next_wrapped_key = ?", []byte{}).Set("shredded_at = ?", toMicros(at)).
		Where("id = ? AND shredded_at = 0", id).Exec(ctx)
	if err := touched("shred account", res, err); err != nil {
		return 0, err
	}
	res, err = t.db.NewUpdate().Model((*backupRow)(nil)).Set("status = ?", holdfast.BackupDeleted).
		Where("account_id = ? AND status = ?", id, holdfast.BackupCompleted).Exec(ctx)
	if err != nil {
		return 0, failed("shred account", err)
	}
	n, err := res.RowsAffected()
	return int(n), failed("shred account", err)
}

// OperationOfAccount reads the oldest operation of an account that has not ended,
// or ErrNotFound.
func (q *queries) OperationOfAccount(ctx context.Context, id holdfast.AccountID) (holdfast.Operation, error) {
	return one[operationRow](ctx, q, "operation of account", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("account_id = ?", id).Where(activeOperation).Order("created_at", "id")
	})
}

type kitRow struct {
	bun.BaseModel `bun:"table:kits,alias:kits"`

	AccountID   holdfast.AccountID `bun:",pk"`
	Number      int                `bun:",pk"`
	IssuedAt    micros
	Fingerprint string
}

func (r kitRow) domain() holdfast.KitIssue {
	return holdfast.KitIssue{Number: r.Number, IssuedAt: r.IssuedAt.time(), Fingerprint: r.Fingerprint}
}

// Kits lists the recovery kits of an account, the first issued first.
func (q *queries) Kits(ctx context.Context, id holdfast.AccountID) ([]holdfast.KitIssue, error) {
	return all[kitRow](ctx, q, "kits", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Where("account_id = ?", id).Order("number") })
}

// InsertKit records a kit; ErrConflict when its number is taken.
func (t *Tx) InsertKit(ctx context.Context, id holdfast.AccountID, k holdfast.KitIssue) error {
	return t.insert(ctx, "insert kit", &kitRow{AccountID: id, Number: k.Number, IssuedAt: toMicros(k.IssuedAt), Fingerprint: k.Fingerprint})
}

type certificateRow struct {
	bun.BaseModel `bun:"table:certificates,alias:certificates"`

	AccountID holdfast.AccountID `bun:",pk"`
	Document  string
}

func (r certificateRow) domain() []byte { return []byte(r.Document) }

// Certificate reads what was certified of the destruction of an account's keys,
// or ErrNotFound.
func (q *queries) Certificate(ctx context.Context, id holdfast.AccountID) ([]byte, error) {
	return one[certificateRow](ctx, q, "certificate", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Where("account_id = ?", id) })
}

// PutCertificate writes a certificate, new or known.
func (t *Tx) PutCertificate(ctx context.Context, id holdfast.AccountID, document []byte) error {
	_, err := t.db.NewInsert().Model(&certificateRow{AccountID: id, Document: string(document)}).
		On("CONFLICT (account_id) DO UPDATE").Set("document = EXCLUDED.document").Exec(ctx)
	return failed("put certificate", err)
}
