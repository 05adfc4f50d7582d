package control

import (
	"context"
	"time"

	"holdfast"
)

// SnapshotInfo is a snapshot as its operator sees it.
type SnapshotInfo struct {
	VPS       string                  `json:"vps"`
	Account   string                  `json:"account"`
	Name      string                  `json:"name"`
	Status    holdfast.SnapshotStatus `json:"status"`
	Scheduled bool                    `json:"scheduled"`
	// Generation of the VPS's disks: of one that is not in force the snapshot is kept
	// for the undo of a restore.
	Generation int        `json:"generation"`
	CreatedAt  *time.Time `json:"createdAt"` // the instant of its data
	ExpiresAt  *time.Time `json:"expiresAt"`
	Error      string     `json:"error,omitzero"` // why it could not be deleted
}

// ListSnapshotsInput narrows a list of snapshots to an account (id or name) or a VPS.
type ListSnapshotsInput struct {
	Account string `json:"account,omitzero"`
	VPS     string `json:"vps,omitzero"`
}

// ListAllSnapshots lists snapshots by VPS, each line from its oldest; those among
// them that customers do not see any more and the hosts may still have.
func (c *Control) ListAllSnapshots(ctx context.Context, in ListSnapshotsInput) ([]SnapshotInfo, error) {
	const op = "control.ListAllSnapshots"
	var account holdfast.AccountID
	if in.Account != "" {
		a, err := findAccount(ctx, c.store.Queries(), in.Account)
		if err != nil {
			return nil, told(op, err)
		}
		account = a.ID
	}
	all, err := c.store.AllSnapshots(ctx, account, holdfast.VPSID(in.VPS))
	return each(all, func(s holdfast.Snapshot) SnapshotInfo {
		return SnapshotInfo{
			VPS: s.VPSID.String(), Account: s.AccountID.String(), Name: s.Name, Status: s.Status, Scheduled: s.Scheduled,
			Generation: s.Generation, CreatedAt: timeOrNull(s.TakenAt), ExpiresAt: timeOrNull(s.ExpiresAt), Error: s.Error,
		}
	}), told(op, err)
}
