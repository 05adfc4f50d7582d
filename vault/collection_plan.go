package vault

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"holdfast/vault/index"
	"holdfast/vault/pack"
)

// PlanCollection finds out what could go and changes nothing. A plan that was
// published and is not done is returned as it was, to be gone on with. Backups
// that cannot be read are an error, as IsDamage tells: nothing may go that could
// still heal them.
func (v *Vault) PlanCollection(ctx context.Context, o CollectOptions) (*CollectionPlan, error) {
	var p *CollectionPlan
	err := again(func() (err error) {
		p, err = v.planCollection(ctx, o.withDefaults())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("plan collection: %w", err)
	}
	return p, nil
}

// errVanished says that a backup was deleted, and collected, while it was marked.
// Its tree was not walked to the end, so the marks are of no use.
var errVanished = errors.New("a backup was deleted meanwhile")

// again repeats what met a vanished backup.
func again(do func() error) error {
	for range markings {
		if err := do(); !errors.Is(err, errVanished) {
			return err
		}
	}
	return ErrCollecting
}

const markings = 10

func (v *Vault) planCollection(ctx context.Context, o CollectOptions) (*CollectionPlan, error) {
	p, err := v.openPlan(ctx)
	if damage(err) {
		p, err = nil, v.giveUp(ctx, err)
	}
	if err != nil || p != nil {
		return p, err
	}
	latest, done, err := v.latestPlan(ctx)
	if err != nil {
		return nil, err
	}
	if !done { // published since: with a second plan beside it writers would see only one
		return nil, ErrCollecting
	}
	// The order matters. A pack that is listed had its session's mark before it; a
	// session whose mark is not listed after that has its manifest already, if ever;
	// and what a listed manifest needs is in the index by then.
	stored := map[string]bool{}
	for info, err := range v.st.List(ctx, pack.Prefix) {
		if err != nil {
			return nil, fmt.Errorf("list packs: %w", err)
		}
		stored[info.Name] = true
	}
	marks, err := v.listSessions(ctx)
	if err != nil {
		return nil, err
	}
	dead, err := v.listStones(ctx)
	if err != nil {
		return nil, err
	}
	all, err := v.manifests(ctx, dead)
	if err != nil {
		return nil, err
	}
	m, err := v.markAll(ctx, all, nil)
	if err != nil {
		return nil, err
	}
	over := sessionsOf(all)
	// Those that are known to be dead are ended before anything is decided, so what
	// they left may go; if one completes its backup all the same, that is seen then.
	var ends []string
	maps.DeleteFunc(marks, func(s string, _ bool) bool {
		if over[s] || dead.ended[s] || dead.kept[s] || dead.notices[s] || o.Session(s) == SessionDead {
			ends = append(ends, s)
			return true
		}
		return false
	})
	slices.Sort(ends)
	p = &CollectionPlan{Number: max(latest, slices.Max(append(dead.plans, 0))) + 1, Backups: len(all), Chunks: m.chunks, Missing: m.missing,
		Packs: len(m.in.packs), Condemned: []Condemned{}, Sessions: slices.Sorted(maps.Keys(marks)), Ends: ends}
	for _, b := range all {
		dead.backups[b.Backup] = true
	}
	p.known = slices.Sorted(maps.Keys(dead.backups))
	for _, mp := range m.packs {
		p.LiveBytes += mp.live
	}
	maps.DeleteFunc(m.packs, func(name string, mp *markedPack) bool { return !stored[name] || marks[mp.info.Session] })
	for _, size := range m.in.packs {
		p.PackBytes += size
	}
	if p.Condemned, err = v.ruins(ctx, m, func(name string, session string) bool { return stored[name] && !marks[session] }); err != nil {
		return nil, err
	}
	if err := v.choose(ctx, p, m, o); err != nil {
		return nil, err
	}
	return p, v.chooseSegments(ctx, p, m.in)
}

// markAll loads the index and marks what manifests need that were read before.
func (v *Vault) markAll(ctx context.Context, all []Manifest, visit func([]markedPlace)) (*marker, error) {
	in, err := v.inspect(ctx, (*index.Segment).CopiedPart)
	if err != nil {
		return nil, err
	}
	m := newMarker(in)
	m.visit = visit
	for _, b := range all {
		for _, im := range b.Images {
			if err := m.image(ctx, b.Backup, im); err != nil {
				_, gone := v.readManifest(ctx, b.Backup)
				if errors.Is(gone, ErrNoBackup) {
					return nil, errVanished
				}
				return nil, errors.Join(err, gone)
			}
		}
	}
	return m, nil
}

// ruins condemns the packs that were found damaged and of which the index cannot
// say what is in them, or not rightly: no place in them counts as one, and nothing
// needed was without a place.
func (v *Vault) ruins(ctx context.Context, m *marker, may func(name, session string) bool) ([]Condemned, error) {
	var names []string
	for _, name := range m.in.Damaged() {
		info, err := pack.ParseName(name)
		if _, known := m.packs[name]; err == nil && !known && m.missing == 0 && may(name, info.Session) {
			names = append(names, name)
		}
	}
	names, err := v.unlocked(ctx, names)
	all := make([]Condemned, 0, len(names))
	for _, name := range names {
		all = append(all, Condemned{Name: name, Size: m.in.packs[name]})
	}
	return all, err
}

// choose condemns the packs without a needed chunk, and those that are worth
// being rewritten, but none that is retained.
func (v *Vault) choose(ctx context.Context, p *CollectionPlan, m *marker, o CollectOptions) error {
	condemn := v.candidates(m, o)
	names := make([]string, 0, len(condemn))
	for mp := range condemn {
		names = append(names, mp.name)
	}
	dates, err := v.retained(ctx, names)
	if err != nil {
		return err
	}
	for mp := range condemn {
		if until, ok := dates[mp.name]; ok {
			p.Waiting = p.Waiting.with(int64(mp.info.Size)-mp.live, until)
			delete(condemn, mp)
			continue
		}
		p.Condemned = append(p.Condemned, mp.condemn())
	}
	for _, mp := range m.packs {
		if mp.loose && !condemn[mp] && mp.kept > 0 {
			p.Unindexed = append(p.Unindexed, mp.name)
		}
	}
	slices.Sort(p.Unindexed)
	// What frees most goes first.
	slices.SortFunc(p.Condemned, func(a, b Condemned) int {
		return cmp.Or(cmp.Compare(b.Size-b.Copy, a.Size-a.Copy), cmp.Compare(a.Name, b.Name))
	})
	p.Condemned = p.Condemned[:min(len(p.Condemned), maxCondemned)]
	return nil
}

// candidates are the packs that hold too little of use.
func (v *Vault) candidates(m *marker, o CollectOptions) map[*markedPack]bool {
	small := map[pack.Class][]*markedPack{}
	condemn := map[*markedPack]bool{}
	for _, mp := range m.packs {
		size := int64(mp.info.Size)
		switch {
		case mp.kept == 0, mp.live == 0:
			condemn[mp] = true
		case float64(mp.live) < o.Sparse*float64(size-overhead(mp.info)):
			condemn[mp] = true
		case o.Sparse > 0 && size < int64(v.fullPack(mp.info.Class)/smallShare):
			small[mp.info.Class] = append(small[mp.info.Class], mp)
		}
	}
	for _, packs := range small {
		if len(packs) < smallPacks {
			continue
		}
		for _, mp := range packs {
			condemn[mp] = true
		}
	}
	return condemn
}

// overhead is what a pack of so many chunks has besides them, in bytes.
func overhead(info pack.Info) int64 {
	return pack.Overhead(int(info.Count))
}

func (v *Vault) fullPack(c pack.Class) int {
	if c == pack.Meta {
		return v.metaPackSize()
	}
	return v.params.PackSize
}

func (p *markedPack) condemn() Condemned {
	c := Condemned{Name: p.info.Name(), Size: int64(p.info.Size), Copy: p.live}
	if p.kept == 0 {
		return c
	}
	for _, w := range p.keep {
		c.Keep = binary.LittleEndian.AppendUint64(c.Keep, w)
	}
	return c
}

// keeps reports whether the chunk of that ordinal is to be kept.
func (c Condemned) keeps(ordinal uint32) bool {
	at := int64(ordinal / 8)
	return at < int64(len(c.Keep)) && c.Keep[at]>>(ordinal%8)&1 != 0
}

// chooseSegments takes the small segments when there are many, and those whose
// packs mostly go or are gone; none that is retained, for it would stay beside
// what takes its place.
func (v *Vault) chooseSegments(ctx context.Context, p *CollectionPlan, in *Inspection) error {
	small, stale := poorSegments(p, in)
	small, err := v.unlocked(ctx, small)
	if err == nil {
		stale, err = v.unlocked(ctx, stale)
	}
	if err != nil {
		return err
	}
	if len(small)+len(stale) >= manySegments {
		stale = append(stale, small...)
	}
	slices.Sort(stale)
	sum := 0
	for _, name := range stale {
		if sum += in.segments[name].entries; sum > mergeEntries {
			break
		}
		p.Segments = append(p.Segments, name)
	}
	return nil
}

// poorSegments are the segments of few entries, and those of few that are of use.
func poorSegments(p *CollectionPlan, in *Inspection) (small, stale []string) {
	gone := map[string]bool{}
	for _, c := range p.Condemned {
		gone[c.Name] = true
	}
	for name, s := range in.segments {
		live := 0
		for _, use := range s.packs {
			if _, there := in.packs[use.name]; there && !gone[use.name] {
				live += use.entries
			}
		}
		switch {
		case live*2 <= s.entries:
			stale = append(stale, name)
		case s.entries < smallSegment:
			small = append(small, name)
		}
	}
	return small, stale
}
