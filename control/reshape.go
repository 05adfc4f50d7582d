package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast"
	"holdfast/store"
)

// GrowDiskInput asks for a larger disk.
type GrowDiskInput struct {
	VPS       string `json:"vps"`
	Disk      string `json:"disk"`
	SizeBytes int64  `json:"sizeBytes"`
}

// AddDiskInput asks for one more disk, of zeros.
type AddDiskInput struct {
	VPS       string `json:"vps"`
	SizeBytes int64  `json:"sizeBytes"`
}

// RemoveDiskInput asks for a disk to be removed with all that is on it.
type RemoveDiskInput struct {
	VPS  string `json:"vps"`
	Disk string `json:"disk"`
}

// GrowDisk queues the growth of a disk; the VPS may run.
func (c *Control) GrowDisk(ctx context.Context, in GrowDiskInput) (VPSJob, error) {
	return c.reshape(ctx, "control.GrowDisk", in.VPS, func(v holdfast.VPS) (holdfast.ReshapeInput, holdfast.Gate, error) {
		want := holdfast.ReshapeInput{Change: holdfast.ReshapeGrow, Disk: holdfast.VPSDisk{Name: in.Disk, SizeBytes: in.SizeBytes}}
		i, err := findDisk(v, in.Disk)
		if err != nil {
			return want, holdfast.Open, err
		}
		if !goodDisk(in.SizeBytes) || in.SizeBytes <= v.Disks[i].SizeBytes {
			return want, holdfast.Open, Invalid([]holdfast.Field{{Pointer: "/sizeBytes", Code: holdfast.CodeInvalidValue,
				Detail: fmt.Sprintf("This must be more than the %d bytes that the disk has. %s", v.Disks[i].SizeBytes, diskWords)}})
		}
		return want, holdfast.Open, nil
	})
}

// AddDisk queues one more disk of a stopped VPS, behind the others.
func (c *Control) AddDisk(ctx context.Context, in AddDiskInput) (VPSJob, error) {
	return c.reshape(ctx, "control.AddDisk", in.VPS, func(v holdfast.VPS) (holdfast.ReshapeInput, holdfast.Gate, error) {
		var faults []holdfast.Field
		if !goodDisk(in.SizeBytes) {
			faults = append(faults, holdfast.Field{Pointer: "/sizeBytes", Code: holdfast.CodeInvalidValue, Detail: diskWords})
		}
		if len(v.Disks) >= maxDisks {
			faults = append(faults, holdfast.Field{Pointer: "/vps", Code: holdfast.CodeInvalidValue, Detail: fmt.Sprintf("A VPS has at most %d disks.", maxDisks)})
		}
		// No name of a disk that it has, and above them all: the order is the guest's.
		next := 0
		for _, d := range v.Disks {
			if n, err := strconv.Atoi(strings.TrimPrefix(d.Name, "disk")); err == nil {
				next = max(next, n+1)
			}
		}
		disk := holdfast.VPSDisk{Name: fmt.Sprintf("disk%d", next), SizeBytes: in.SizeBytes}
		return holdfast.ReshapeInput{Change: holdfast.ReshapeAdd, Disk: disk}, stoppedGate(v), Invalid(faults)
	})
}

// RemoveDisk queues the end of a disk of a stopped VPS. Backups that have it keep
// it; the first one, from which the VPS boots, stays.
func (c *Control) RemoveDisk(ctx context.Context, in RemoveDiskInput) (VPSJob, error) {
	return c.reshape(ctx, "control.RemoveDisk", in.VPS, func(v holdfast.VPS) (holdfast.ReshapeInput, holdfast.Gate, error) {
		want := holdfast.ReshapeInput{Change: holdfast.ReshapeRemove, Disk: holdfast.VPSDisk{Name: in.Disk}}
		i, err := findDisk(v, in.Disk)
		if err == nil && i == 0 {
			err = Invalid([]holdfast.Field{{Pointer: "/disk", Code: holdfast.CodeInvalidValue, Detail: "The VPS boots from this disk."}})
		}
		return want, stoppedGate(v), err
	})
}

func findDisk(v holdfast.VPS, name string) (int, error) {
	i := slices.IndexFunc(v.Disks, func(d holdfast.VPSDisk) bool { return d.Name == name })
	if i < 0 {
		return i, Invalid([]holdfast.Field{{Pointer: "/disk", Code: holdfast.CodeInvalidValue, Detail: "The VPS has no disk \"" + shown(name) + "\"."}})
	}
	return i, nil
}

func stoppedGate(v holdfast.VPS) holdfast.Gate {
	if v.Power == holdfast.PowerStopped && v.Desired == holdfast.PowerStopped {
		return holdfast.Open
	}
	return holdfast.Shut(holdfast.CodeVPSStateChanged, "The VPS must be stopped for this. Stop it first.")
}

// reshape queues a change of a VPS's disks, which no other operation on its data
// or its power may meet.
func (c *Control) reshape(ctx context.Context, op, id string, plan func(holdfast.VPS) (holdfast.ReshapeInput, holdfast.Gate, error)) (VPSJob, error) {
	var out VPSJob
	err := c.write(ctx, op, func(tx *store.Tx) error {
		q := tx.Queries()
		none := holdfast.E(holdfast.CodeVPSNotFound, "There is no such VPS.")
		vps, err := holdfast.ParseID[holdfast.VPSID](id)
		if err != nil {
			return none
		}
		v, err := q.VPS(ctx, vps)
		if err != nil {
			return missing(err, none.Code, none.Msg)
		}
		in, gate, err := plan(v)
		if err != nil {
			return err
		}
		still, err := reshapeGate(ctx, q, v)
		if err != nil {
			return err
		}
		if err := holdfast.First(still, gate).Err(); err != nil {
			return err
		}
		if err := roomGate(ctx, q, v, in); err != nil {
			return err
		}
		out, err = enqueueOn(ctx, tx, v, holdfast.KindVPSReshape, holdfast.LockData, in)
		return err
	})
	return out, err
}

// reshapeGate is shut while the disks of a VPS have to stay as they are.
func reshapeGate(ctx context.Context, q *store.Queries, v holdfast.VPS) (holdfast.Gate, error) {
	gate := holdfast.ServiceGate(v)
	for _, lock := range []holdfast.Lock{holdfast.LockData, holdfast.LockPower} {
		busy, err := holder(ctx, q, v.ID, lock)
		if err != nil {
			return gate, err
		}
		gate = holdfast.First(gate, holdfast.BusyGate(busy))
	}
	shots, err := q.Snapshots(ctx, v.ID, v.Generation)
	if err == nil && len(shots) > 0 {
		gate = holdfast.First(gate, holdfast.Shut(holdfast.CodeVPSStateChanged,
			"The VPS has snapshots, which are of its disks as they are. Delete them first."))
	}
	return gate, err
}

// roomGate is the problem when the account or the host has no room for the change.
func roomGate(ctx context.Context, q *store.Queries, v holdfast.VPS, in holdfast.ReshapeInput) error {
	changed := v
	changed.Disks = in.Apply(v.Disks)
	more := holdfast.CloudResources{StorageGb: changed.StorageGb() - v.StorageGb()}
	if more.StorageGb <= 0 {
		return nil
	}
	if v.Billing.IsPayg {
		a, err := q.Account(ctx, v.AccountID)
		if err != nil {
			return err
		}
		used, err := q.UsedCloud(ctx, v.AccountID)
		if err != nil {
			return err
		}
		if slices.Contains(a.Cloud.LimitBlockers(used, more), holdfast.CodeStorageLimitExceeded) {
			return holdfast.BlockerGate([]holdfast.Code{holdfast.CodeStorageLimitExceeded}).Err()
		}
	}
	h, err := q.Host(ctx, v.HostID)
	if err != nil {
		return err
	}
	used, err := q.UsedHost(ctx, v.HostID)
	if err == nil && !fits(h.Capacity, used.Add(more)) {
		return holdfast.E(holdfast.CodeRegionCapacity, "The host of the VPS has no room for this. Ask for less, or raise the host's capacity.")
	}
	return err
}

// reshapeResult is the result of a change of disks on the wire.
type reshapeResult struct {
	VPSID holdfast.VPSID     `json:"vpsId"`
	Disks []holdfast.VPSDisk `json:"disks"`
}

// reshaped writes the disks that the VPS has now: what it uses of its account's and
// its host's resources follows.
func reshaped(ctx context.Context, e *ending, _ json.RawMessage) (any, error) {
	var in holdfast.ReshapeInput
	if err := json.Unmarshal(e.op.Input, &in); err != nil {
		return nil, fmt.Errorf("%w: its input: %w", errRefused, err)
	}
	v, err := e.tx.VPS(ctx, e.op.VPSID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: the VPS is gone", errRefused)
	}
	if err != nil {
		return nil, err
	}
	disks := in.Apply(v.Disks)
	return reshapeResult{v.ID, disks}, e.tx.SetDisks(ctx, v.ID, disks)
}

// reshapeFailed leaves the VPS as it was.
func reshapeFailed(context.Context, *ending) error { return nil }
