package vault

import (
	"context"
	"fmt"
)

// decision says, once for a plan and for good, which of the condemned packs are
// deleted. It is a blob that is never deleted: a collector that comes back after
// any time finds it and cannot decide otherwise.
type decision struct {
	Plan   uint64 `json:"plan"`
	Doomed []byte `json:"doomed"` // bitmap over the plan's condemned packs
	Again  bool   `json:"again,omitempty"`
}

func (d decision) dooms(i int) bool { return i/8 < len(d.Doomed) && d.Doomed[i/8]>>(i%8)&1 != 0 }

// decide is called when no session older than the plan can complete a backup any
// more. saved are the rewritten packs.
func (v *Vault) decide(ctx context.Context, p *CollectionPlan, saved map[string]bool) (decision, error) {
	d := decision{Plan: p.Number, Doomed: make([]byte, (len(p.Condemned)+7)/8)}
	doomed, changed := map[string]bool{}, false
	err := again(func() (err error) {
		for _, c := range p.Condemned {
			doomed[c.Name] = len(c.Keep) == 0 || saved[c.Name]
		}
		changed, err = v.spare(ctx, p, doomed)
		return err
	})
	switch {
	case damage(err):
		clear(doomed) // a backup cannot be read any more: nothing may go that could heal it
	case err != nil:
		return d, fmt.Errorf("decide: %w", err)
	case changed:
		clear(doomed)
		d.Again = true
	}
	for i, c := range p.Condemned {
		if doomed[c.Name] {
			d.Doomed[i/8] |= 1 << (i % 8)
		}
	}
	return once(ctx, v, tombPlan+number(p.Number), d)
}

// spare takes back every pack without which a backup that was completed since the
// plan would lose a chunk. It reports whether a backup came and went since: one
// that is younger than the plan may have inherited from it what nobody can see now.
func (v *Vault) spare(ctx context.Context, p *CollectionPlan, doomed map[string]bool) (changed bool, err error) {
	dead, err := v.listStones(ctx)
	if err != nil {
		return false, err
	}
	all, err := v.manifests(ctx, dead)
	if err != nil {
		return false, err
	}
	_, err = v.markAll(ctx, all, func(places []markedPlace) {
		for _, at := range places {
			if !doomed[at.p.name] {
				return
			}
		}
		doomed[places[0].p.name] = false
	})
	if err != nil {
		return false, err
	}
	known := make(map[string]bool, len(p.known))
	for _, b := range p.known {
		known[b] = true
	}
	// Tombstones after manifests: what was deleted before they were listed shows.
	if dead, err = v.listStones(ctx); err != nil {
		return false, err
	}
	for b := range dead.backups {
		changed = changed || !known[b]
	}
	return changed, nil
}
