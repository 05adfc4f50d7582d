package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/uptrace/bun"

	"holdfast"
)

type backupRow struct {
	bun.BaseModel `bun:"table:backups,alias:backups"`

	ID               holdfast.BackupID `bun:",pk"`
	AccountID        holdfast.AccountID
	VPSID            holdfast.VPSID `bun:"vps_id"`
	Status           holdfast.BackupStatus
	Type             string
	Note             string
	Protected        bool
	LockedUntil      micros
	Site             string
	RequestedAt      micros
	PointAt          micros
	Point            string
	Generation       int
	SizeBytes        int64
	ChangedBytes     int64
	TransferredBytes int64
	Incremental      string
	Consistency      string
	CPUCores         int                       `bun:"cpu_cores"`
	MemoryMiB        int                       `bun:"memory_mib"`
	Disks            []holdfast.VPSDisk        `bun:"disks,type:text"`
	Boot             holdfast.Boot             `bun:"boot,type:text"`
	OS               *holdfast.OperatingSystem `bun:"os,type:text"`

	ConsistencyReason string
	IncrementalReason string
	Latency           *holdfast.BackupLatency `bun:"latency,type:text"`
	DataBytes         int64
}

func newBackupRow(b holdfast.Backup) *backupRow {
	return &backupRow{
		ID: b.ID, AccountID: b.AccountID, VPSID: b.VPSID, Status: b.Status, Type: b.Type,
		Note: b.Note, Protected: b.Protected, LockedUntil: toMicros(b.LockedUntil), Site: b.Site,
		RequestedAt: toMicros(b.RequestedAt), PointAt: toMicros(b.PointAt), Point: b.Point, Generation: b.Generation,
		SizeBytes: b.SizeBytes, ChangedBytes: b.ChangedBytes, TransferredBytes: b.TransferredBytes,
		Incremental: b.Incremental, Consistency: b.Consistency,
		CPUCores: b.CPUCores, MemoryMiB: b.MemoryMiB, Disks: notNil(b.Disks), Boot: b.Boot, OS: b.OS,
		ConsistencyReason: b.ConsistencyReason, IncrementalReason: b.IncrementalReason, Latency: b.Latency, DataBytes: b.DataBytes,
	}
}

func (r backupRow) domain() holdfast.Backup {
	return holdfast.Backup{
		ID: r.ID, AccountID: r.AccountID, VPSID: r.VPSID, Status: r.Status, Type: r.Type,
		Note: r.Note, Protected: r.Protected, LockedUntil: r.LockedUntil.time(), Site: r.Site,
		RequestedAt: r.RequestedAt.time(), PointAt: r.PointAt.time(), Point: r.Point, Generation: r.Generation,
		SizeBytes: r.SizeBytes, ChangedBytes: r.ChangedBytes, TransferredBytes: r.TransferredBytes,
		Incremental: r.Incremental, Consistency: r.Consistency,
		CPUCores: r.CPUCores, MemoryMiB: r.MemoryMiB, Disks: r.Disks, Boot: r.Boot, OS: r.OS,
		ConsistencyReason: r.ConsistencyReason, IncrementalReason: r.IncrementalReason, Latency: r.Latency, DataBytes: r.DataBytes,
	}
}

// Backup reads a backup of any account, or ErrNotFound. For what a customer
// asks, use BackupOf.
func (q *queries) Backup(ctx context.Context, id holdfast.BackupID) (holdfast.Backup, error) {
	return one[backupRow](ctx, q, "backup", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Where("id = ?", id) })
}

// BackupOf reads a backup of an account's VPS, whatever its status; ErrNotFound
// too when it is another account's or another VPS's.
func (q *queries) BackupOf(ctx context.Context, account holdfast.AccountID, vps holdfast.VPSID, id holdfast.BackupID) (holdfast.Backup, error) {
	return one[backupRow](ctx, q, "backup of vps", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("id = ? AND account_id = ? AND vps_id = ?", id, account, vps)
	})
}

// BackupsOfVPS lists a VPS's backups in the given states, the newest first; with
// no state named, in all.
func (q *queries) BackupsOfVPS(ctx context.Context, vps holdfast.VPSID, states ...holdfast.BackupStatus) ([]holdfast.Backup, error) {
	return all[backupRow](ctx, q, "backups of vps", func(s *bun.SelectQuery) *bun.SelectQuery {
		return inStates(s.Where("vps_id = ?", vps), states).Order("requested_at DESC", "id DESC")
	})
}

// Backups lists the backups of all accounts, or of one, or of one VPS, that have
// not failed, the newest first; deleted ones are among them while a copy is left.
func (q *queries) Backups(ctx context.Context, account holdfast.AccountID, vps holdfast.VPSID) ([]holdfast.Backup, error) {
	return all[backupRow](ctx, q, "backups", func(s *bun.SelectQuery) *bun.SelectQuery {
		s = s.Where("status <> ?", holdfast.BackupFailed)
		if account != "" {
			s = s.Where("account_id = ?", account)
		}
		if vps != "" {
			s = s.Where("vps_id = ?", vps)
		}
		return s.Order("requested_at DESC", "id DESC")
	})
}

// BackupsOfAccount lists an account's backups in the given states, the newest
// first; with no state named, in all.
func (q *queries) BackupsOfAccount(ctx context.Context, account holdfast.AccountID, states ...holdfast.BackupStatus) ([]holdfast.Backup, error) {
	return all[backupRow](ctx, q, "backups of account", func(s *bun.SelectQuery) *bun.SelectQuery {
		return inStates(s.Where("account_id = ?", account), states).Order("requested_at DESC", "id DESC")
	})
}

// CountBackups counts a VPS's backups in the given states; with no state named,
// in all.
func (q *queries) CountBackups(ctx context.Context, vps holdfast.VPSID, states ...holdfast.BackupStatus) (int, error) {
	n, err := inStates(q.db.NewSelect().Model((*backupRow)(nil)).Where("vps_id = ?", vps), states).Count(ctx)
	return int(n), failed("count backups", err)
}

// CountBackupsElsewhere counts the completed backups of an account's other VPSs.
func (q *queries) CountBackupsElsewhere(ctx context.Context, account holdfast.AccountID, vps holdfast.VPSID) (int, error) {
	n, err := q.db.NewSelect().Model((*backupRow)(nil)).
		Where("account_id = ? AND vps_id <> ? AND status = ?", account, vps, holdfast.BackupCompleted).Count(ctx)
	return int(n), failed("count backups elsewhere", err)
}

// UsedSlots counts the backups of a VPS that take a slot: completed and running
// ones.
func (q *queries) UsedSlots(ctx context.Context, vps holdfast.VPSID) (int, error) {
	return q.CountBackups(ctx, vps, holdfast.BackupPending, holdfast.BackupCompleted)
}

func inStates(s *bun.SelectQuery, states []holdfast.BackupStatus) *bun.SelectQuery {
	if len(states) == 0 {
		return s
	}
	return s.Where("status IN (?)", bun.List(states))
}

// CompletedBackups lists a VPS's completed backups, the newest point in time
// first: what a new one may build on. Of those only the ones whose Generation
// is still the VPS's are parents.
func (q *queries) CompletedBackups(ctx context.Context, vps holdfast.VPSID) ([]holdfast.Backup, error) {
	return all[backupRow](ctx, q, "completed backups", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("vps_id = ? AND status = ?", vps, holdfast.BackupCompleted).Order("point_at DESC", "id DESC")
	})
}

// InsertBackup writes a new backup.
func (t *Tx) InsertBackup(ctx context.Context, b holdfast.Backup) error {
	return t.insert(ctx, "insert backup", newBackupRow(b))
}

// CompleteBackup makes a pending backup a completed one, with what its report
// says; ErrNotFound when it is not pending.
func (t *Tx) CompleteBackup(ctx context.Context, id holdfast.BackupID, r holdfast.BackupReport) error {
	var latency any // NULL
	if r.Latency != nil {
		text, err := json.Marshal(r.Latency)
		if err != nil {
			return fmt.Errorf("store: complete backup: %w", err)
		}
		latency = string(text)
	}
	res, err := t.db.NewUpdate().Model((*backupRow)(nil)).
		Set("status = ?", holdfast.BackupCompleted).
		Set("point_at = ?", toMicros(r.PointAt)).Set("point = ?", r.Point).
		Set("size_bytes = ?", r.SizeBytes).Set("changed_bytes = ?", r.ChangedBytes).
		Set("transferred_bytes = ?", r.TransferredBytes).Set("data_bytes = ?", r.DataBytes).
		Set("incremental = ?", r.Incremental).Set("consistency = ?", r.Consistency).
		Set("consistency_reason = ?", r.ConsistencyReason).Set("incremental_reason = ?", r.IncrementalReason).Set("latency = ?", latency).
		Set("locked_until = ?", toMicros(r.LockedUntil)).
		Where("id = ? AND status = ?", id, holdfast.BackupPending).Exec(ctx)
	return touched("complete backup", res, err)
}

// SetBackupStatus moves a backup from one state to another; ErrNotFound when it
// is not in the first.
func (t *Tx) SetBackupStatus(ctx context.Context, id holdfast.BackupID, from, to holdfast.BackupStatus) error {
	res, err := t.db.NewUpdate().Model((*backupRow)(nil)).Set("status = ?", to).
		Where("id = ? AND status = ?", id, from).Exec(ctx)
	return touched("set backup status", res, err)
}

// DeleteBackup removes the row of a deleted backup whose space is free.
func (t *Tx) DeleteBackup(ctx context.Context, id holdfast.BackupID) error {
	res, err := t.db.NewDelete().Model((*backupRow)(nil)).
		Where("id = ? AND status = ?", id, holdfast.BackupDeleted).Exec(ctx)
	return touched("delete backup", res, err)
}
