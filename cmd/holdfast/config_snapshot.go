package main

import (
	"time"

	"holdfast"
	"holdfast/control"
)

// snapshotConfig are the settings of snapshots.
type snapshotConfig struct {
	Limit    int           `koanf:"limit"`    // how many a VPS may have; 0: there are none
	Lifetime time.Duration `koanf:"lifetime"` // of each
}

// The most that makes sense: reads go through every layer, and each grows while it
// is kept.
const (
	maxSnapshots    = 32
	maxSnapshotLife = 30 * 24 * time.Hour
)

// policy is what the control plane knows of the settings.
func (c snapshotConfig) policy() control.SnapshotPolicy {
	return control.SnapshotPolicy{Limit: c.Limit, Lifetime: c.Lifetime}
}

func (c snapshotConfig) check() []holdfast.Field {
	var bad []holdfast.Field
	if c.Limit < 0 || c.Limit > maxSnapshots {
		bad = append(bad, holdfast.Field{Pointer: "snapshot.limit", Detail: "must be 0, for none, to 32", Code: holdfast.CodeInvalidValue})
	}
	if c.Lifetime < time.Second || c.Lifetime > maxSnapshotLife {
		bad = append(bad, holdfast.Field{Pointer: "snapshot.lifetime", Detail: "must be from 1s to 30 days (720h)", Code: holdfast.CodeInvalidValue})
	}
	return bad
}
