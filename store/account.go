package store

import (
	"context"

	"github.com/uptrace/bun"

	"holdfast"
)

type accountRow struct {
	bun.BaseModel `bun:"table:accounts,alias:accounts"`

	ID             holdfast.AccountID `bun:",pk"`
	Name           string
	CreatedAt      micros
	Active         bool
	Verified       bool
	CardOnFile     bool
	CloudAccess    bool
	UnpaidInvoice  bool
	LimitCPUCores  int    `bun:"limit_cpu_cores"`
	LimitMemoryGb  int    `bun:"limit_memory_gb"`
	LimitStorageGb int    `bun:"limit_storage_gb"`
	LimitInstances int    `bun:"limit_instances"`
	BackupSlots    int    `bun:"backup_slots"`
	WrappedKey     []byte `bun:"wrapped_key"`
	NextWrappedKey []byte `bun:"next_wrapped_key"`
	RingEpoch      uint32 `bun:"ring_epoch"`
	ShreddedAt     micros `bun:"shredded_at"`
}

func newAccountRow(a holdfast.Account) *accountRow {
	return &accountRow{
		ID: a.ID, Name: a.Name, CreatedAt: toMicros(a.CreatedAt), Active: a.Active,
		Verified: a.Cloud.Verified, CardOnFile: a.Cloud.CardOnFile,
		CloudAccess: a.Cloud.CloudAccess, UnpaidInvoice: a.Cloud.UnpaidInvoice,
		LimitCPUCores: a.Cloud.Limits.CPUCores, LimitMemoryGb: a.Cloud.Limits.MemoryGb,
		LimitStorageGb: a.Cloud.Limits.StorageGb, LimitInstances: a.Cloud.Limits.Instances,
		BackupSlots: a.BackupSlots, WrappedKey: bytesOf(a.WrappedKey), NextWrappedKey: bytesOf(a.NextWrappedKey),
		RingEpoch: a.RingEpoch, ShreddedAt: toMicros(a.ShreddedAt),
	}
}

// bytesOf writes no bytes as an empty blob: the columns know no NULL.
func bytesOf(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func (r accountRow) domain() holdfast.Account {
	return holdfast.Account{
		ID: r.ID, Name: r.Name, CreatedAt: r.CreatedAt.time(), Active: r.Active,
		Cloud: holdfast.CloudFacts{
			Verified: r.Verified, CardOnFile: r.CardOnFile, CloudAccess: r.CloudAccess, UnpaidInvoice: r.UnpaidInvoice,
			Limits: holdfast.CloudResources{
				CPUCores: r.LimitCPUCores, MemoryGb: r.LimitMemoryGb,
				StorageGb: r.LimitStorageGb, Instances: r.LimitInstances,
			},
		},
		BackupSlots: r.BackupSlots, WrappedKey: r.WrappedKey, NextWrappedKey: r.NextWrappedKey,
		RingEpoch: r.RingEpoch, ShreddedAt: r.ShreddedAt.time(),
	}
}

// Account reads an account, or ErrNotFound.
func (q *queries) Account(ctx context.Context, id holdfast.AccountID) (holdfast.Account, error) {
	return one[accountRow](ctx, q, "account", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Where("id = ?", id) })
}

// AccountByName reads the account of a name, or ErrNotFound.
func (q *queries) AccountByName(ctx context.Context, name string) (holdfast.Account, error) {
	return one[accountRow](ctx, q, "account by name", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Where("name = ?", name) })
}

// Accounts lists all accounts by name.
func (q *queries) Accounts(ctx context.Context) ([]holdfast.Account, error) {
	return all[accountRow](ctx, q, "accounts", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Order("name") })
}

// InsertAccount writes a new account; ErrConflict when its name is taken.
func (t *Tx) InsertAccount(ctx context.Context, a holdfast.Account) error {
	return t.insert(ctx, "insert account", newAccountRow(a))
}

// UpdateAccount writes everything of an account but its id, its creation and its
// keys.
func (t *Tx) UpdateAccount(ctx context.Context, a holdfast.Account) error {
	res, err := t.db.NewUpdate().Model(newAccountRow(a)).ExcludeColumn("created_at", "wrapped_key", "next_wrapped_key", "ring_epoch", "shredded_at").WherePK().Exec(ctx)
	return touched("update account", res, err)
}
