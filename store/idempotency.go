package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/uptrace/bun"

	"holdfast"
)

// IdempotencyKey names a request that must take effect once.
type IdempotencyKey struct {
	Account holdfast.AccountID
	Caller  string // the key's or the user's id
	Method  string
	Path    string
	Key     string // the caller's choice
}

// IdempotentRequest is what is known of a request under a key.
type IdempotentRequest struct {
	Fingerprint string // of the request's body
	Owner       string // the process that works on it
	Done        bool   // the answer is known
	Status      int
	Headers     map[string]string
	Body        []byte
	CreatedAt   time.Time
}

type idempotencyRow struct {
	bun.BaseModel `bun:"table:idempotency,alias:idempotency"`

	AccountID   holdfast.AccountID `bun:",pk"`
	Caller      string             `bun:",pk"`
	Method      string             `bun:",pk"`
	Path        string             `bun:",pk"`
	Name        string             `bun:",pk"`
	Fingerprint string
	Done        bool
	Owner       string
	Status      int
	Headers     map[string]string `bun:"headers,type:text"`
	Body        []byte
	CreatedAt   micros
}

func (r idempotencyRow) domain() IdempotentRequest {
	return IdempotentRequest{
		Fingerprint: r.Fingerprint, Owner: r.Owner, Done: r.Done, Status: r.Status,
		Headers: r.Headers, Body: r.Body, CreatedAt: r.CreatedAt.time(),
	}
}

func (k IdempotencyKey) row() *idempotencyRow {
	return &idempotencyRow{AccountID: k.Account, Caller: k.Caller, Method: k.Method, Path: k.path(), Name: k.Key}
}

// maxPath bounds what is indexed of a path, in bytes: PostgreSQL refuses a row whose
// key is longer than a third of a page, and a caller may write anything for an id.
const maxPath = 512

// path is the path, or what tells it from others if it is long.
func (k IdempotencyKey) path() string {
	if len(k.Path) <= maxPath {
		return k.Path
	}
	sum := sha256.Sum256([]byte(k.Path))
	return "sha256:" + hex.EncodeToString(sum[:])
}

const idempotencyKey = "account_id = ? AND caller = ? AND method = ? AND path = ? AND name = ?"

func (k IdempotencyKey) args() []any { return []any{k.Account, k.Caller, k.Method, k.path(), k.Key} }

// IdempotentRequest reads what is known under a key, or ErrNotFound.
func (q *queries) IdempotentRequest(ctx context.Context, k IdempotencyKey) (IdempotentRequest, error) {
	return one[idempotencyRow](ctx, q, "idempotency", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where(idempotencyKey, k.args()...)
	})
}

// BeginIdempotent takes a key for a request and says first: true. When the key
// is taken it gives what is known of the earlier request instead.
func (t *Tx) BeginIdempotent(ctx context.Context, k IdempotencyKey, fingerprint, owner string) (known IdempotentRequest, first bool, err error) {
	now, err := t.Now(ctx)
	if err != nil {
		return IdempotentRequest{}, false, err
	}
	r := k.row()
	r.Fingerprint, r.Owner, r.CreatedAt = fingerprint, owner, toMicros(now)
	r.Headers, r.Body = map[string]string{}, []byte{}
	res, err := t.db.NewInsert().Model(r).On("CONFLICT DO NOTHING").Exec(ctx)
	if err != nil {
		return IdempotentRequest{}, false, failed("begin idempotency", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return IdempotentRequest{}, false, failed("begin idempotency", err)
	}
	known, err = t.IdempotentRequest(ctx, k)
	return known, n == 1, err
}

// CompleteIdempotent keeps the answer of the request that its owner began. Done
// in the transaction that the request is about, both hold or neither does.
// ErrNotFound: the owner does not hold the key any more.
func (t *Tx) CompleteIdempotent(ctx context.Context, k IdempotencyKey, owner string, status int, headers map[string]string, body []byte) error {
	r := k.row()
	r.Done, r.Status, r.Headers, r.Body = true, status, headers, body
	if r.Headers == nil {
		r.Headers = map[string]string{}
	}
	if r.Body == nil {
		r.Body = []byte{}
	}
	res, err := t.db.NewUpdate().Model(r).Column("done", "status", "headers", "body").WherePK().
		Where("owner = ? AND NOT done", owner).Exec(ctx)
	return touched("complete idempotency", res, err)
}

// ReleaseIdempotent frees a key whose request had no lasting effect.
func (t *Tx) ReleaseIdempotent(ctx context.Context, k IdempotencyKey, owner string) error {
	_, err := t.db.NewDelete().Model((*idempotencyRow)(nil)).Where(idempotencyKey, k.args()...).
		Where("owner = ? AND NOT done", owner).Exec(ctx)
	return failed("release idempotency", err)
}

// ForgetIdempotent frees a key whose answer is older than age, so that it may
// be taken again before ExpireIdempotent comes by.
func (t *Tx) ForgetIdempotent(ctx context.Context, k IdempotencyKey, age time.Duration) error {
	now, err := t.Now(ctx)
	if err != nil {
		return err
	}
	_, err = t.db.NewDelete().Model((*idempotencyRow)(nil)).Where(idempotencyKey, k.args()...).
		Where("created_at < ?", toMicros(now.Add(-age))).Exec(ctx)
	return failed("forget idempotency", err)
}

// ReleaseAbandoned frees the keys of requests that were begun by other owners
// and never answered: those of a process that is gone. It says how many.
func (t *Tx) ReleaseAbandoned(ctx context.Context, owner string) (int, error) {
	res, err := t.db.NewDelete().Model((*idempotencyRow)(nil)).Where("owner <> ? AND NOT done", owner).Exec(ctx)
	if err != nil {
		return 0, failed("release abandoned", err)
	}
	n, err := res.RowsAffected()
	return int(n), failed("release abandoned", err)
}

// ExpireIdempotent forgets up to limit keys that are older than age, and says
// how many.
func (t *Tx) ExpireIdempotent(ctx context.Context, age time.Duration, limit int) (int, error) {
	now, err := t.Now(ctx)
	if err != nil {
		return 0, err
	}
	old := t.db.NewSelect().Model((*idempotencyRow)(nil)).
		Column("account_id", "caller", "method", "path", "name").
		Where("created_at < ?", toMicros(now.Add(-age))).Order("created_at").Limit(int64(limit))
	res, err := t.db.NewDelete().Model((*idempotencyRow)(nil)).
		Where("(account_id, caller, method, path, name) IN (?)", old).Exec(ctx)
	if err != nil {
		return 0, failed("expire idempotency", err)
	}
	n, err := res.RowsAffected()
	return int(n), failed("expire idempotency", err)
}
