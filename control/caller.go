package control

import (
	"context"
	"errors"
	"time"

	"holdfast"
	"holdfast/store"
)

// Caller is who asks on behalf of an account.
type Caller struct {
	Account holdfast.AccountID
	Key     holdfast.KeyID
	Scopes  holdfast.Scopes
}

// Operator is who asks on behalf of the house.
type Operator struct{ Key holdfast.KeyID }

// Authenticate finds the caller of an API key's secret. Every refusal is
// unauthorized, and says nothing about whether the key ever existed.
func (c *Control) Authenticate(ctx context.Context, secret string) (*Caller, error) {
	const op = "control.Authenticate"
	if !holdfast.WellFormedSecret(holdfast.APIKeyPrefix, secret) {
		return nil, holdfast.E(holdfast.CodeUnauthorized, "This is not an API key. Check that it was copied as a whole.")
	}
	k, account, err := c.store.APIKeyByHash(ctx, holdfast.HashSecret(secret))
	if errors.Is(err, store.ErrNotFound) {
		return nil, refusedKey()
	}
	if err != nil {
		return nil, told(op, err)
	}
	now, err := c.store.Now(ctx)
	if err != nil {
		return nil, told(op, err)
	}
	if !k.RevokedAt.IsZero() || (!k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt)) {
		return nil, refusedKey()
	}
	// What cannot be noted, on a full disk for one, keeps nobody out.
	if since := now.Sub(k.LastUsedAt); since >= usedEvery || since < 0 {
		_ = c.store.Tx(ctx, func(tx *store.Tx) error { return tx.TouchAPIKey(ctx, k.ID, usedEvery) })
	}
	return &Caller{Account: account.ID, Key: k.ID, Scopes: k.Scopes}, nil
}

// usedEvery is how often the use of a key is noted at most.
const usedEvery = time.Minute

// AuthenticateOperator finds the operator of an operator key's secret.
func (c *Control) AuthenticateOperator(ctx context.Context, secret string) (*Operator, error) {
	if !holdfast.WellFormedSecret(holdfast.OperatorKeyPrefix, secret) {
		return nil, holdfast.E(holdfast.CodeUnauthorized, "This is not an operator key. Check that it was copied as a whole.")
	}
	k, err := c.store.OperatorKeyByHash(ctx, holdfast.HashSecret(secret))
	if err == nil && k.RevokedAt.IsZero() {
		return &Operator{Key: k.ID}, nil
	}
	if err == nil || errors.Is(err, store.ErrNotFound) {
		return nil, refusedKey()
	}
	return nil, told("control.AuthenticateOperator", err)
}

func refusedKey() error {
	return holdfast.E(holdfast.CodeUnauthorized, "The key is unknown, expired or revoked. Use one that is in force.")
}
