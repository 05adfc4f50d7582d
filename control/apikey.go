package control

import (
	"context"
	"strings"
	"time"

	"holdfast"
	"holdfast/store"
)

// KeyInfo is an API key or an operator key as its operator sees it.
type KeyInfo struct {
	ID        string     `json:"id"`
	Account   string     `json:"account,omitzero"`
	Name      string     `json:"name"`
	Scopes    []string   `json:"scopes,omitzero"`
	CreatedAt time.Time  `json:"createdAt"`
	ExpiresAt *time.Time `json:"expiresAt"`
	RevokedAt *time.Time `json:"revokedAt"`
	LastUsed  *time.Time `json:"lastUsedAt,omitempty"` // to a minute; of API keys
}

// NewKey is a key that was just made: the only time its secret is shown.
type NewKey struct {
	KeyInfo
	Secret string `json:"secret"`
}

func keyInfo(k holdfast.APIKey) KeyInfo {
	return KeyInfo{
		ID: k.ID.String(), Account: k.AccountID.String(), Name: k.Name, Scopes: strings.Fields(k.Scopes.String()),
		CreatedAt: k.CreatedAt, ExpiresAt: timeOrNull(k.ExpiresAt), RevokedAt: timeOrNull(k.RevokedAt), LastUsed: timeOrNull(k.LastUsedAt),
	}
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// CreateAPIKeyInput describes a new API key.
type CreateAPIKeyInput struct {
	Account   string   `json:"account"` // id or name
	Name      string   `json:"name,omitzero"`
	Scopes    []string `json:"scopes"`
	ExpiresAt *string  `json:"expiresAt"` // RFC 3339; absent: never
}

// CreateAPIKey makes a key of an account. The secret is in the answer and
// nowhere else.
func (c *Control) CreateAPIKey(ctx context.Context, in CreateAPIKeyInput) (NewKey, error) {
	if in.Name == "" {
		in.Name = "key"
	}
	faults := checkLabel(in.Name)
	scopes, err := holdfast.ParseScopes(strings.Join(in.Scopes, " "))
	if err != nil || len(scopes) == 0 {
		faults = append(faults, holdfast.Field{Pointer: "/scopes", Code: holdfast.CodeInvalidValue,
			Detail: "Name at least one of these scopes: " + holdfast.Scopes(holdfast.AllScopes()).String() + "."})
	}
	k := holdfast.APIKey{ID: holdfast.NewID[holdfast.KeyID](), Name: in.Name, Scopes: scopes}
	if in.ExpiresAt != nil {
		if k.ExpiresAt, err = time.Parse(time.RFC3339, *in.ExpiresAt); err != nil {
			faults = append(faults, holdfast.Field{Pointer: "/expiresAt", Code: holdfast.CodeInvalidValue, Detail: "This must be a time such as 2027-01-31T12:00:00Z."})
		}
	}
	if err := Invalid(faults); err != nil {
		return NewKey{}, err
	}
	secret := holdfast.NewSecret(holdfast.APIKeyPrefix)
	k.Hash = holdfast.HashSecret(secret)
	err = c.write(ctx, "control.CreateAPIKey", func(tx *store.Tx) error {
		a, err := findAccount(ctx, tx.Queries(), in.Account)
		if err != nil {
			return err
		}
		k.AccountID = a.ID
		if k.CreatedAt, err = tx.Now(ctx); err != nil {
			return err
		}
		return tx.InsertAPIKey(ctx, k)
	})
	if err != nil {
		return NewKey{}, err
	}
	return NewKey{KeyInfo: keyInfo(k), Secret: secret}, nil
}

// AccountInput names an account by id or name.
type AccountInput struct {
	Account string `json:"account"`
}

// ListAPIKeys lists an account's keys, the oldest first, without secrets.
func (c *Control) ListAPIKeys(ctx context.Context, in AccountInput) ([]KeyInfo, error) {
	const op = "control.ListAPIKeys"
	a, err := findAccount(ctx, c.store.Queries(), in.Account)
	if err != nil {
		return nil, told(op, err)
	}
	keys, err := c.store.APIKeys(ctx, a.ID)
	return each(keys, keyInfo), told(op, err)
}

// RevokeAPIKeyInput names a key of an account.
type RevokeAPIKeyInput struct {
	Account string `json:"account"` // id or name
	Key     string `json:"key"`
}

// RevokeAPIKey ends a key at once. Revoking it again changes nothing.
func (c *Control) RevokeAPIKey(ctx context.Context, in RevokeAPIKeyInput) (Done, error) {
	err := c.write(ctx, "control.RevokeAPIKey", func(tx *store.Tx) error {
		a, err := findAccount(ctx, tx.Queries(), in.Account)
		if err != nil {
			return err
		}
		return missing(tx.RevokeAPIKey(ctx, a.ID, holdfast.KeyID(in.Key)), holdfast.CodeNotFound, "There is no such key of this account.")
	})
	return Done{ID: in.Key}, err
}

// Done is the answer of a command that has nothing else to say.
type Done struct {
	ID string `json:"id"`
}
