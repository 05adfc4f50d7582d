package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"holdfast"
)

type apiKeyRow struct {
	bun.BaseModel `bun:"table:api_keys,alias:api_keys"`

	ID        holdfast.KeyID `bun:",pk"`
	AccountID holdfast.AccountID
	Name      string
	Scopes    string
	Hash      string
	CreatedAt micros
	ExpiresAt micros
	RevokedAt micros

	LastUsedAt micros
}

func newAPIKeyRow(k holdfast.APIKey) *apiKeyRow {
	return &apiKeyRow{
		ID: k.ID, AccountID: k.AccountID, Name: k.Name, Scopes: k.Scopes.String(), Hash: k.Hash,
		CreatedAt: toMicros(k.CreatedAt), ExpiresAt: toMicros(k.ExpiresAt), RevokedAt: toMicros(k.RevokedAt),
		LastUsedAt: toMicros(k.LastUsedAt),
	}
}

func (r apiKeyRow) domain() holdfast.APIKey {
	// A scope that this version does not know gives nothing: the key then holds
	// no scopes at all rather than some of them.
	scopes, err := holdfast.ParseScopes(r.Scopes)
	if err != nil {
		scopes = nil
	}
	return holdfast.APIKey{
		ID: r.ID, AccountID: r.AccountID, Name: r.Name, Scopes: scopes, Hash: r.Hash,
		CreatedAt: r.CreatedAt.time(), ExpiresAt: r.ExpiresAt.time(), RevokedAt: r.RevokedAt.time(),
		LastUsedAt: r.LastUsedAt.time(),
	}
}

// APIKeyByHash reads the key of a secret's hash, revoked and expired ones too,
// with its account; or ErrNotFound.
func (q *queries) APIKeyByHash(ctx context.Context, hash string) (holdfast.APIKey, holdfast.Account, error) {
	k, err := one[apiKeyRow](ctx, q, "api key by hash", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Where("hash = ?", hash) })
	if err != nil {
		return holdfast.APIKey{}, holdfast.Account{}, err
	}
	a, err := q.Account(ctx, k.AccountID)
	return k, a, err
}

// APIKeys lists an account's keys, the oldest first.
func (q *queries) APIKeys(ctx context.Context, account holdfast.AccountID) ([]holdfast.APIKey, error) {
	return all[apiKeyRow](ctx, q, "api keys", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("account_id = ?", account).Order("created_at", "id")
	})
}

// InsertAPIKey writes a new key.
func (t *Tx) InsertAPIKey(ctx context.Context, k holdfast.APIKey) error {
	return t.insert(ctx, "insert api key", newAPIKeyRow(k))
}

// RevokeAPIKey ends a key of an account; one that is revoked stays so.
func (t *Tx) RevokeAPIKey(ctx context.Context, account holdfast.AccountID, id holdfast.KeyID) error {
	now, err := t.Now(ctx)
	if err != nil {
		return err
	}
	res, err := t.db.NewUpdate().Model((*apiKeyRow)(nil)).
		Set("revoked_at = CASE WHEN revoked_at = 0 THEN ? ELSE revoked_at END", toMicros(now)).
		Where("id = ? AND account_id = ?", id, account).Exec(ctx)
	return touched("revoke api key", res, err)
}

// TouchAPIKey notes that a key is used now, unless the last note is younger than
// least. It does not mind a key that is not known.
func (t *Tx) TouchAPIKey(ctx context.Context, id holdfast.KeyID, least time.Duration) error {
	now, err := t.Now(ctx)
	if err != nil {
		return err
	}
	_, err = t.db.NewUpdate().Model((*apiKeyRow)(nil)).Set("last_used_at = ?", toMicros(now)).
		Where("id = ? AND (last_used_at <= ? OR last_used_at > ?)", id, toMicros(now.Add(-least)), toMicros(now)).Exec(ctx)
	return failed("touch api key", err)
}
