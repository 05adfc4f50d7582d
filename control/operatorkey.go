package control

import (
	"context"

	"holdfast"
	"holdfast/store"
)

// CreateOperatorKeyInput describes a new operator key.
type CreateOperatorKeyInput struct {
	Name string `json:"name,omitzero"`
}

// CreateOperatorKey makes a key for the operator's door. The secret is in the
// answer and nowhere else.
func (c *Control) CreateOperatorKey(ctx context.Context, in CreateOperatorKeyInput) (NewKey, error) {
	if in.Name == "" {
		in.Name = "operator"
	}
	if err := Invalid(checkLabel(in.Name)); err != nil {
		return NewKey{}, err
	}
	secret := holdfast.NewSecret(holdfast.OperatorKeyPrefix)
	k := store.OperatorKey{ID: holdfast.NewID[holdfast.KeyID](), Name: in.Name, Hash: holdfast.HashSecret(secret)}
	err := c.write(ctx, "control.CreateOperatorKey", func(tx *store.Tx) error {
		var err error
		if k.CreatedAt, err = tx.Now(ctx); err != nil {
			return err
		}
		return tx.InsertOperatorKey(ctx, k)
	})
	if err != nil {
		return NewKey{}, err
	}
	return NewKey{KeyInfo: operatorKeyInfo(k), Secret: secret}, nil
}

// ListOperatorKeys lists all operator keys, the oldest first, without secrets.
func (c *Control) ListOperatorKeys(ctx context.Context) ([]KeyInfo, error) {
	keys, err := c.store.OperatorKeys(ctx)
	return each(keys, operatorKeyInfo), told("control.ListOperatorKeys", err)
}

// KeyInput names an operator key.
type KeyInput struct {
	Key string `json:"key"`
}

// RevokeOperatorKey ends an operator key at once.
func (c *Control) RevokeOperatorKey(ctx context.Context, in KeyInput) (Done, error) {
	err := c.write(ctx, "control.RevokeOperatorKey", func(tx *store.Tx) error {
		return missing(tx.RevokeOperatorKey(ctx, holdfast.KeyID(in.Key)), holdfast.CodeNotFound, "There is no such operator key.")
	})
	return Done{ID: in.Key}, err
}

func operatorKeyInfo(k store.OperatorKey) KeyInfo {
	return KeyInfo{ID: k.ID.String(), Name: k.Name, CreatedAt: k.CreatedAt, RevokedAt: timeOrNull(k.RevokedAt)}
}
