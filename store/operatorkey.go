package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"holdfast"
)

// OperatorKey is a credential of whoever runs the service. It reaches operator
// routes alone, as no customer's key does.
type OperatorKey struct {
	ID        holdfast.KeyID
	Name      string
	Hash      string // holdfast.HashSecret of the secret
	CreatedAt time.Time
	RevokedAt time.Time // zero: in force
}

type operatorKeyRow struct {
	bun.BaseModel `bun:"table:operator_keys,alias:operator_keys"`

	ID        holdfast.KeyID `bun:",pk"`
	Name      string
	Hash      string
	CreatedAt micros
	RevokedAt micros
}

func (r operatorKeyRow) domain() OperatorKey {
	return OperatorKey{ID: r.ID, Name: r.Name, Hash: r.Hash, CreatedAt: r.CreatedAt.time(), RevokedAt: r.RevokedAt.time()}
}

// OperatorKeyByHash reads the operator key of a secret's hash, a revoked one
// too; or ErrNotFound.
func (q *queries) OperatorKeyByHash(ctx context.Context, hash string) (OperatorKey, error) {
	return one[operatorKeyRow](ctx, q, "operator key by hash", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Where("hash = ?", hash) })
}

// OperatorKeys lists all operator keys, the oldest first.
func (q *queries) OperatorKeys(ctx context.Context) ([]OperatorKey, error) {
	return all[operatorKeyRow](ctx, q, "operator keys", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Order("created_at", "id") })
}

// InsertOperatorKey writes a new operator key.
func (t *Tx) InsertOperatorKey(ctx context.Context, k OperatorKey) error {
	return t.insert(ctx, "insert operator key", &operatorKeyRow{
		ID: k.ID, Name: k.Name, Hash: k.Hash, CreatedAt: toMicros(k.CreatedAt), RevokedAt: toMicros(k.RevokedAt),
	})
}

// RevokeOperatorKey ends an operator key; one that is revoked stays so.
func (t *Tx) RevokeOperatorKey(ctx context.Context, id holdfast.KeyID) error {
	now, err := t.Now(ctx)
	if err != nil {
		return err
	}
	res, err := t.db.NewUpdate().Model((*operatorKeyRow)(nil)).
		Set("revoked_at = CASE WHEN revoked_at = 0 THEN ? ELSE revoked_at END", toMicros(now)).
		Where("id = ?", id).Exec(ctx)
	return touched("revoke operator key", res, err)
}
