package store

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/uptrace/bun"

	"holdfast"
)

// What a runner may journal for one operation; a runner on a compromised host
// cannot fill the database.
const (
	maxJournalName  = 256     // bytes
	maxJournalValue = 1 << 20 // bytes
	maxJournalTotal = 8 << 20 // bytes of all names and values of an operation
)

// ErrTooLarge: a journal entry, or all of an operation's together, are larger
// than is kept.
var ErrTooLarge = errors.New("store: the journal is too large")

type journalRow struct {
	bun.BaseModel `bun:"table:journal,alias:journal"`

	OperationID holdfast.JobID `bun:",pk"`
	Name        string         `bun:",pk"`
	Value       string
}

// PutJournal stores an entry of a held operation, replacing an older one of the
// name. ErrNotFound: the lease is not held any more. ErrTooLarge: it is not
// stored.
func (t *Tx) PutJournal(ctx context.Context, h Held, name string, value []byte) error {
	if name == "" || len(name) > maxJournalName || len(value) > maxJournalValue {
		return failed("journal", ErrTooLarge)
	}
	var older int64
	if err := t.db.NewSelect().Model((*journalRow)(nil)).
		ColumnExpr("COALESCE(SUM(OCTET_LENGTH(name) + OCTET_LENGTH(value)), 0)").
		Where("operation_id = ? AND name = ?", h.Job, name).Scan(ctx, &older); err != nil {
		return failed("journal", err)
	}
	// The lease is proved by the same statement that keeps the sum.
	u := t.db.NewUpdate().Model((*operationRow)(nil)).
		Set("journal_bytes = journal_bytes + ?", int64(len(name)+len(value))-older)
	res, err := h.where(u).Exec(ctx)
	if err := touched("journal", res, err); err != nil {
		return err
	}
	var total int64
	if err := t.db.NewSelect().Model((*operationRow)(nil)).Column("journal_bytes").
		Where("id = ?", h.Job).Scan(ctx, &total); err != nil {
		return failed("journal", err)
	}
	if total > maxJournalTotal {
		return failed("journal", ErrTooLarge)
	}
	_, err = t.db.NewInsert().Model(&journalRow{OperationID: h.Job, Name: name, Value: string(value)}).
		On("CONFLICT (operation_id, name) DO UPDATE").Set("value = EXCLUDED.value").Exec(ctx)
	return failed("journal", err)
}

// Journalled says whether an operation has an entry of a name.
func (q *queries) Journalled(ctx context.Context, id holdfast.JobID, name string) (bool, error) {
	found, err := q.db.NewSelect().Model((*journalRow)(nil)).Where("operation_id = ? AND name = ?", id, name).Exists(ctx)
	return found, failed("journalled", err)
}

// Journal reads all entries of an operation.
func (q *queries) Journal(ctx context.Context, id holdfast.JobID) (map[string]json.RawMessage, error) {
	var rows []journalRow
	if err := q.db.NewSelect().Model(&rows).Where("operation_id = ?", id).Scan(ctx); err != nil {
		return nil, failed("journal", err)
	}
	out := make(map[string]json.RawMessage, len(rows))
	for _, r := range rows {
		out[r.Name] = json.RawMessage(r.Value)
	}
	return out, nil
}
