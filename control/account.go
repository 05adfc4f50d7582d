package control

import (
	"context"
	"errors"
	"time"
	"unicode/utf8"

	"holdfast"
	"holdfast/store"
)

// AccountInfo is an account as its operator sees it.
type AccountInfo struct {
	ID            string     `json:"id"`
	Name          string     `json:"name"`
	CreatedAt     time.Time  `json:"createdAt"`
	Active        bool       `json:"active"`
	ShreddedAt    *time.Time `json:"shreddedAt,omitempty"` // its key was destroyed
	Verified      bool       `json:"verified"`
	CardOnFile    bool       `json:"cardOnFile"`
	CloudAccess   bool       `json:"cloudAccess"`
	UnpaidInvoice bool       `json:"unpaidInvoice"`
	Limits        LimitsInfo `json:"limits"`
	BackupSlots   int        `json:"backupSlots"` // negative: no limit
}

// LimitsInfo are limits or capacities; memory and storage are GiB.
type LimitsInfo struct {
	CPUCores  int `json:"cpuCores,omitzero"`
	MemoryGb  int `json:"memoryGb,omitzero"`
	StorageGb int `json:"storageGb,omitzero"`
	Instances int `json:"instances,omitzero"`
}

func accountInfo(a holdfast.Account) AccountInfo {
	return AccountInfo{
		ID: a.ID.String(), Name: a.Name, CreatedAt: a.CreatedAt, Active: a.Active, ShreddedAt: timeOrNull(a.ShreddedAt),
		Verified: a.Cloud.Verified, CardOnFile: a.Cloud.CardOnFile, CloudAccess: a.Cloud.CloudAccess,
		UnpaidInvoice: a.Cloud.UnpaidInvoice, Limits: LimitsInfo(a.Cloud.Limits), BackupSlots: a.BackupSlots,
	}
}

// CreateAccountInput names a new account. It begins active, without access to
// Cloud VMs and without backup slots beyond those given.
type CreateAccountInput struct {
	Name        string `json:"name"`
	BackupSlots int    `json:"backupSlots,omitzero"`
}

// CreateAccount makes an account and its key.
func (c *Control) CreateAccount(ctx context.Context, in CreateAccountInput) (AccountInfo, error) {
	const op = "control.CreateAccount"
	if err := Invalid(checkLabel(in.Name)); err != nil {
		return AccountInfo{}, err
	}
	if c.options.WrapKey == nil {
		return AccountInfo{}, holdfast.Wrap(holdfast.CodeInternal, op, "This process cannot make account keys.", errors.New("no WrapKey"))
	}
	a := holdfast.Account{ID: holdfast.NewID[holdfast.AccountID](), Name: in.Name, Active: true, BackupSlots: in.BackupSlots}
	var err error
	if a.WrappedKey, err = c.options.WrapKey(ctx, a.ID); err != nil {
		return AccountInfo{}, told(op, err)
	}
	err = c.write(ctx, op, func(tx *store.Tx) error {
		if err := c.keyInForce(ctx, tx.Queries()); err != nil {
			return err
		}
		if a.CreatedAt, err = tx.Now(ctx); err != nil {
			return err
		}
		return taken(tx.InsertAccount(ctx, a), "/name", "There is an account of this name already.")
	})
	return accountInfo(a), err
}

// SetAccountInput changes what it names and leaves the rest.
type SetAccountInput struct {
	Account       string       `json:"account"` // id or name
	Active        *bool        `json:"active"`
	Verified      *bool        `json:"verified"`
	CardOnFile    *bool        `json:"cardOnFile"`
	CloudAccess   *bool        `json:"cloudAccess"`
	UnpaidInvoice *bool        `json:"unpaidInvoice"`
	BackupSlots   *int         `json:"backupSlots"`
	Limits        *LimitsPatch `json:"limits"`
}

// LimitsPatch changes the limits that it names.
type LimitsPatch struct {
	CPUCores  *int `json:"cpuCores"`
	MemoryGb  *int `json:"memoryGb"`
	StorageGb *int `json:"storageGb"`
	Instances *int `json:"instances"`
}

// SetAccountFacts writes what decides about an account's backups and Cloud VMs.
func (c *Control) SetAccountFacts(ctx context.Context, in SetAccountInput) (AccountInfo, error) {
	var a holdfast.Account
	err := c.write(ctx, "control.SetAccountFacts", func(tx *store.Tx) error {
		var err error
		if a, err = findAccount(ctx, tx.Queries(), in.Account); err != nil {
			return err
		}
		set(&a.Active, in.Active)
		set(&a.Cloud.Verified, in.Verified)
		set(&a.Cloud.CardOnFile, in.CardOnFile)
		set(&a.Cloud.CloudAccess, in.CloudAccess)
		set(&a.Cloud.UnpaidInvoice, in.UnpaidInvoice)
		set(&a.BackupSlots, in.BackupSlots)
		if l := in.Limits; l != nil {
			set(&a.Cloud.Limits.CPUCores, l.CPUCores)
			set(&a.Cloud.Limits.MemoryGb, l.MemoryGb)
			set(&a.Cloud.Limits.StorageGb, l.StorageGb)
			set(&a.Cloud.Limits.Instances, l.Instances)
		}
		return tx.UpdateAccount(ctx, a)
	})
	return accountInfo(a), err
}

// ListAccounts lists all accounts by name.
func (c *Control) ListAccounts(ctx context.Context) ([]AccountInfo, error) {
	accounts, err := c.store.Accounts(ctx)
	return each(accounts, accountInfo), told("control.ListAccounts", err)
}

// findAccount finds an account by id or name.
func findAccount(ctx context.Context, q *store.Queries, s string) (holdfast.Account, error) {
	none := "There is no account \"" + shown(s) + "\"."
	if id, err := holdfast.ParseID[holdfast.AccountID](s); err == nil {
		a, err := q.Account(ctx, id)
		return a, missing(err, holdfast.CodeNotFound, none)
	}
	a, err := q.AccountByName(ctx, s)
	return a, missing(err, holdfast.CodeNotFound, none)
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func each[A, B any](in []A, f func(A) B) []B {
	out := make([]B, len(in))
	for i, a := range in {
		out[i] = f(a)
	}
	return out
}

// taken turns a conflict into the refusal of the field that is in the way.
func taken(err error, pointer, msg string) error {
	if errors.Is(err, store.ErrConflict) {
		return Invalid([]holdfast.Field{{Pointer: pointer, Detail: msg, Code: holdfast.CodeInvalidValue}})
	}
	return err
}

const maxLabel = 100

// checkLabel says what is wrong with a name that people read.
func checkLabel(s string) []holdfast.Field {
	if n := utf8.RuneCountInString(s); n < 1 || n > maxLabel {
		return []holdfast.Field{{Pointer: "/name", Detail: "This must have 1 to 100 characters.", Code: holdfast.CodeInvalidValue}}
	}
	return nil
}

// shown is what of an input is repeated in a message.
func shown(s string) string {
	if r := []rune(s); len(r) > maxLabel {
		return string(r[:maxLabel]) + "…"
	}
	return s
}
