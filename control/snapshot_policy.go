package control

import "time"

// SnapshotPolicy says how many snapshots there may be and for how long. The zero
// value of a field means its default.
type SnapshotPolicy struct {
	// Limit is how many a VPS may have; default 8. Every one is a layer that reads go
	// through, and may grow as large as the disks. The densest schedule keeps six for
	// a day, and leaves two.
	Limit int
	// Lifetime is how long one is kept from the instant of its data; default 24 h.
	Lifetime time.Duration
}

const (
	defaultSnapshots        = 8
	defaultSnapshotLifetime = 24 * time.Hour
)

func (p SnapshotPolicy) withDefaults() SnapshotPolicy {
	if p.Limit <= 0 {
		p.Limit = defaultSnapshots
	}
	if p.Lifetime <= 0 {
		p.Lifetime = defaultSnapshotLifetime
	}
	return p
}
