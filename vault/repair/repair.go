// Package repair puts back what a vault has lost, from other vaults of the account and from live disks.
package repair

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"holdfast/vault"
	"holdfast/vault/check"
	"holdfast/vault/pack"
)

// Options say how a vault is repaired.
type Options struct {
	// Sources are other vaults of the same account, under the same ring. Nothing is
	// taken from them that does not prove itself.
	Sources []*vault.Vault
	// Disks are tried for what no source has: only what is still identical heals.
	Disks []Disk
	// Expect are backups that should be there, as check.Options has them.
	Expect []string
	// Quick trusts the packs that nothing is known against, instead of reading them.
	Quick bool
	// DryRun changes nothing. It reads from the sources what it would take.
	DryRun bool
	// Workers read in parallel; 0 means 4.
	Workers int
	// Progress, if set, is called in turn with the bytes of packs read and to be
	// read by the check that comes first, and then with the chunks put back, of 0.
	Progress func(stage string, done, total int64)
}

// Report is what a repair found and did. Healed counts what was put back, or would
// be by a dry run.
type Report struct {
	// OK: every backup is whole now, or would be.
	OK     bool         `json:"ok"`
	DryRun bool         `json:"dryRun,omitempty"`
	Found  check.Report `json:"found"`
	Healed Healed       `json:"healed"`
	// Remaining is what stays lost, for want of a source that has it.
	Remaining []check.Damage `json:"remaining"`
	More      int            `json:"moreRemaining,omitempty"` // not listed
}

// Healed is what was put back.
type Healed struct {
	Chunks    int      `json:"chunks"`
	Nodes     int      `json:"treeNodes"`
	Bytes     int64    `json:"bytes"`               // of plaintext
	FromDisks int      `json:"fromDisks,omitempty"` // chunks and nodes of these
	Manifests []string `json:"manifests,omitempty"`
	Segments  []string `json:"indexSegments,omitempty"` // made anew from the packs' tables
}

// Run checks a vault, every byte of it unless Quick, and puts back what is lost. It
// may be interrupted anywhere and repeated; where nothing is lost it changes
// nothing but the marks of packs it found damaged.
func Run(ctx context.Context, v *vault.Vault, o Options) (Report, error) {
	r, err := run(ctx, v, o)
	if err != nil {
		return r, fmt.Errorf("repair vault: %w", err)
	}
	return r, nil
}

func run(ctx context.Context, v *vault.Vault, o Options) (Report, error) {
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	r := Report{DryRun: o.DryRun, Remaining: []check.Damage{}}
	var err error
	r.Found, err = check.Run(ctx, v, check.Options{ReadData: !o.Quick, Mark: !o.DryRun, Expect: o.Expect,
		Progress: func(done, total int64) { o.Progress("check", done, total) }})
	if err != nil {
		return r, err
	}
	if r.Found.OK && len(r.Found.Known) == 0 {
		r.OK = true
		return r, nil
	}
	m, err := newMender(ctx, v, o, &r)
	if err != nil {
		return r, err
	}
	var distrust, segments []string
	for _, b := range r.Found.Blobs {
		if strings.HasPrefix(b.Name, pack.Prefix) {
			distrust = append(distrust, b.Name)
		} else {
			segments = append(segments, b.Name)
		}
	}
	err = v.Heal(ctx, vault.HealOptions{Distrust: distrust, DryRun: o.DryRun}, func(ctx context.Context, h *vault.Healing) error {
		m.h = h
		if err := m.run(ctx); err != nil {
			return err
		}
		if len(r.Remaining)+r.More == 0 {
			r.Healed.Segments = segments
			h.Retire(segments)
		}
		return nil
	})
	r.OK = err == nil && len(r.Remaining)+r.More == 0
	return r, err
}

// manifests returns the descriptions of all backups, those of the sources where
// the vault's own are lost, and the backups that have none.
func (m *mender) manifests(ctx context.Context) (all []vault.Manifest, missing []check.Damage, err error) {
	ids, err := m.v.Manifests(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, id := range m.o.Expect {
		lost, err := m.v.Lost(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		if lost {
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		b, err := m.manifest(ctx, id)
		switch {
		case errors.Is(err, vault.ErrDeleted) || errors.Is(err, vault.ErrSessionLost):
		case vault.Damage(err) || errors.Is(err, vault.ErrNoBackup):
			missing = append(missing, check.Damage{Backup: id, Reason: err.Error()})
		case err != nil:
			return nil, nil, err
		default:
			all = append(all, b)
		}
	}
	return all, missing, nil
}

func (m *mender) manifest(ctx context.Context, id string) (vault.Manifest, error) {
	b, err := m.v.Manifest(ctx, id)
	if !vault.Damage(err) && !errors.Is(err, vault.ErrNoBackup) {
		return b, err
	}
	for _, src := range m.o.Sources {
		b, serr := src.Manifest(ctx, id)
		if vault.Damage(serr) || errors.Is(serr, vault.ErrNoBackup) {
			continue
		}
		if serr != nil {
			return b, serr
		}
		m.r.Healed.Manifests = append(m.r.Healed.Manifests, id)
		return b, m.h.PutManifest(ctx, b)
	}
	return b, err
}
