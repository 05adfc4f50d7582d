package backup

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"holdfast"
)

// maxReason bounds what is said of why a backup is a repair, in bytes.
const maxReason = 512

// untracked: what went wrong cannot happen to a backup that reads everything.
func untracked(err error) bool {
	_, missed := errors.AsType[*missedError](err)
	return missed || errors.Is(err, errParent)
}

// readWhole has the backup, and its successors, build on nothing. The point in
// time that comes next begins change tracking anew, and removes what is there.
func (b *attempt) readWhole(ctx context.Context, cause error) error {
	why := "the backup that change tracking began with cannot be built on"
	if missed, ok := errors.AsType[*missedError](cause); ok {
		why = missed.Error()
		// What was built on the same tracking may lack changes, too.
		b.Log.ErrorContext(ctx, "change tracking cannot be relied on: the disks are read whole, and the backups before this one should be verified",
			"vps", b.run.Operation.VPSID, "disk", missed.disk, "offset", missed.offset, "missed", missed.missed, "compared", missed.looked,
			"backup", b.run.Operation.BackupID)
	}
	if err := b.run.Save(ctx, keyWhy, why); err != nil {
		return err
	}
	return b.run.Save(ctx, keyWhole, true)
}

// incremental says how the backup came about, for the backup as a whole: one disk
// read without need makes it a repair. A disk that the backup before had not is
// read whole because there is nothing else.
func (b *attempt) incremental(ctx context.Context) (how, why string) {
	var lost []string
	builds := false
	for _, d := range b.point.Handle.Disks {
		switch {
		case d.Parent != "":
			builds = true
		case b.earlier(ctx, d.Name):
			lost = append(lost, d.Name+": "+cmp.Or(d.ParentLost, "there is no backup that it could be built on"))
		}
	}
	switch {
	case len(lost) > 0:
		// Our own reason is one for all disks.
		if found, err := b.run.Load(keyWhy, &why); err != nil || !found {
			why = strings.Join(lost, "; ")
		}
		return holdfast.IncrementalFixed, strings.ToValidUTF8(why[:min(len(why), maxReason)], "")
	case builds:
		return holdfast.IncrementalDelta, ""
	}
	return holdfast.IncrementalFull, ""
}

// earlier: the VPS's backup before this one has the disk, as far as is known.
func (b *attempt) earlier(ctx context.Context, disk string) bool {
	if b.in.Earlier == "" {
		return false
	}
	m, err := b.vault.Manifest(ctx, string(b.in.Earlier))
	if err != nil {
		return true
	}
	_, found := m.Image(disk)
	return found
}
