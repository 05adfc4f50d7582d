package control

import (
	"context"
	"time"

	"holdfast"
	"holdfast/store"
)

// BackupInfo is a backup as its operator sees it.
type BackupInfo struct {
	ID        string                `json:"id"`
	Account   string                `json:"account"`
	VPS       string                `json:"vps"`
	Status    holdfast.BackupStatus `json:"status"`
	CreatedAt *time.Time            `json:"createdAt"` // the instant of its data
	SizeBytes int64                 `json:"sizeBytes"`
	Site      string                `json:"site"` // where it was made
	// How it came about, and why it is no better; all "" until it is completed.
	Incremental       string `json:"incremental"`
	IncrementalReason string `json:"incrementalReason"`
	Consistency       string `json:"consistency"`
	ConsistencyReason string `json:"consistencyReason"`
	// WriteLatency is how the VPS has felt it; null when nobody measured.
	WriteLatency *holdfast.BackupLatency `json:"writeLatency"`

	Copies []CopyInfo `json:"copies"`
}

// CopyInfo is a backup at a further place.
type CopyInfo struct {
	Place       string             `json:"place"`
	State       holdfast.CopyState `json:"state"`
	Bytes       int64              `json:"bytes"` // stored there for this backup
	CompletedAt *time.Time         `json:"completedAt"`
	Error       string             `json:"error,omitzero"` // of the last try
	Progress    holdfast.Progress  `json:"progress,omitzero"`
}

// ListBackupsInput narrows a list of backups to an account (id or name) or a VPS.
type ListBackupsInput struct {
	Account string `json:"account,omitzero"`
	VPS     string `json:"vps,omitzero"`
}

// ListAllBackups lists the backups that have not failed, the newest first. A
// deleted one is shown for as long as it is not deleted at every place.
func (c *Control) ListAllBackups(ctx context.Context, in ListBackupsInput) ([]BackupInfo, error) {
	const op = "control.ListAllBackups"
	q := c.store.Queries()
	var account holdfast.AccountID
	if in.Account != "" {
		a, err := findAccount(ctx, q, in.Account)
		if err != nil {
			return nil, told(op, err)
		}
		account = a.ID
	}
	backups, err := q.Backups(ctx, account, holdfast.VPSID(in.VPS))
	if err != nil {
		return nil, told(op, err)
	}
	out, err := backupInfos(ctx, q, account, backups)
	return out, told(op, err)
}

// BackupInput names a backup.
type BackupInput struct {
	Backup string `json:"backup"`
}

// BackupInfo shows a backup of any account.
func (c *Control) BackupInfo(ctx context.Context, in BackupInput) (BackupInfo, error) {
	const op, none = "control.BackupInfo", "There is no such backup."
	id, err := holdfast.ParseID[holdfast.BackupID](in.Backup)
	if err != nil {
		return BackupInfo{}, holdfast.E(holdfast.CodeBackupNotFound, none)
	}
	q := c.store.Queries()
	b, err := q.Backup(ctx, id)
	if err != nil {
		return BackupInfo{}, told(op, missing(err, holdfast.CodeBackupNotFound, none))
	}
	infos, err := backupInfos(ctx, q, b.AccountID, []holdfast.Backup{b})
	if err != nil {
		return BackupInfo{}, told(op, err)
	}
	return infos[0], nil
}

type copyKey struct {
	backup holdfast.BackupID
	place  string
}

// backupInfos adds to backups where they lie.
func backupInfos(ctx context.Context, q *store.Queries, account holdfast.AccountID, backups []holdfast.Backup) ([]BackupInfo, error) {
	running, err := q.Running(ctx, holdfast.KindCopy)
	if err != nil {
		return nil, err
	}
	progress := map[copyKey]holdfast.Progress{}
	for _, o := range running {
		progress[copyKey{o.BackupID, o.Place}] = o.Progress
	}
	copies, err := q.AllCopies(ctx, account)
	if err != nil {
		return nil, err
	}
	by := map[holdfast.BackupID][]CopyInfo{}
	for _, c := range copies {
		info := CopyInfo{Place: c.Place, State: c.State, Bytes: c.Bytes, CompletedAt: timeOrNull(c.CompletedAt), Error: c.Error}
		if p, ok := progress[copyKey{c.BackupID, c.Place}]; ok && c.State != holdfast.CopyDeleting {
			info.State, info.Progress = holdfast.CopyCopying, p
		}
		by[c.BackupID] = append(by[c.BackupID], info)
	}
	return each(backups, func(b holdfast.Backup) BackupInfo {
		info := BackupInfo{
			ID: b.ID.String(), Account: b.AccountID.String(), VPS: b.VPSID.String(), Status: b.Status,
			CreatedAt: timeOrNull(b.PointAt), SizeBytes: b.SizeBytes, Site: b.Site, Copies: by[b.ID],
			Incremental: b.Incremental, IncrementalReason: b.IncrementalReason, Consistency: b.Consistency, ConsistencyReason: b.ConsistencyReason,
			WriteLatency: b.Latency,
		}
		if info.Copies == nil {
			info.Copies = []CopyInfo{}
		}
		return info
	}), nil
}
