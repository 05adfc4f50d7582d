package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast/vault/blob"
	"holdfast/vault/index"
	"holdfast/vault/manifest"
	"holdfast/vault/pack"
)

// Collect executes a plan, whoever made it and however far another collector had
// come with it before it died. It may be interrupted anywhere, and called by
// several at once. A plan that another one has overtaken is ErrCollecting; writers
// that are waited for no longer are a *WaitingError.
func (v *Vault) Collect(ctx context.Context, p *CollectionPlan, o CollectOptions) (Collected, error) {
	r := Collected{Number: p.Number}
	if p.Empty() {
		return r, nil
	}
	if err := v.collect(ctx, p, o.withDefaults(), &r); err != nil {
		return r, fmt.Errorf("collection %d: %w", p.Number, err)
	}
	return r, nil
}

func (v *Vault) collect(ctx context.Context, p *CollectionPlan, o CollectOptions, r *Collected) error {
	if err := v.ring.renew(ctx); err != nil {
		return err
	}
	if err := v.publish(ctx, p); err != nil {
		return err
	}
	if err := v.stillLatest(ctx, p.Number); err != nil {
		return err
	}
	d, decided, err := recall[decision](ctx, v, tombPlan+number(p.Number))
	if err != nil {
		return err
	}
	if !decided && len(p.Condemned) > 0 {
		if r.Ended, err = v.settleSessions(ctx, p, o); err != nil {
			return err
		}
		saved, copied, err := v.rewrite(ctx, p, o)
		if err != nil {
			return err
		}
		r.Copied = copied
		if d, err = v.decide(ctx, p, saved); err != nil {
			return err
		}
	}
	if len(p.Condemned) == 0 && len(p.Ends) > 0 {
		if err := v.endSessions(ctx, p.Ends); err != nil {
			return err
		}
		r.Ended = p.Ends
	}
	r.Again = d.Again
	if err := v.deletePacks(ctx, p, d, o, r); err != nil {
		return err
	}
	if err := v.mergeSegments(ctx, p, r); err != nil {
		return err
	}
	return v.finishCollection(ctx, p)
}

func (v *Vault) deletePacks(ctx context.Context, p *CollectionPlan, d decision, o CollectOptions, r *Collected) error {
	var deleted, retained, kept atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(deleteWorkers)
	for i, c := range p.Condemned {
		if !d.dooms(i) {
			r.Spared++
			continue
		}
		r.Deleted++
		r.Bytes += c.Size
		g.Go(func() error {
			err := v.st.Delete(gctx, c.Name)
			if errors.Is(err, blob.ErrRetained) { // for a backup that came since
				retained.Add(1)
				kept.Add(c.Size)
				return nil
			}
			if err != nil {
				return fmt.Errorf("delete pack: %w", err)
			}
			deleted.Add(1)
			return nil
		})
	}
	err := g.Wait()
	r.Deleted -= int(retained.Load())
	r.Spared += int(retained.Load())
	r.Bytes -= kept.Load()
	o.Progress("delete packs", int(deleted.Load()), r.Deleted)
	return err
}

// mergeSegments puts one segment in the place of many, and covers the packs that
// none covers. Readers that come between
// find both, or list again.
func (v *Vault) mergeSegments(ctx context.Context, p *CollectionPlan, r *Collected) error {
	if len(p.Segments) == 0 && len(p.Unindexed) == 0 {
		return nil
	}
	if err := v.refresh(ctx); err != nil {
		return err
	}
	stored := map[string]bool{}
	for info, err := range v.st.List(ctx, pack.Prefix) {
		if err != nil {
			return fmt.Errorf("list packs: %w", err)
		}
		stored[info.Name] = true
	}
	merging := index.NewJoiner(0)
	var names []string
	for _, name := range p.Segments {
		part, err := v.segmentPart(ctx, name)
		if err != nil {
			return err
		}
		if part != nil {
			merging.Add(part.Only(func(p pack.Info) bool { return stored[p.Name()] }))
			names = append(names, name)
		}
	}
	if len(p.Unindexed) > 0 {
		contents, _, err := v.uncovered(ctx, pack.Prefix, v.current())
		if err != nil {
			return err
		}
		merging.Add(index.NewPart(contents))
	}
	if merged := merging.Part(); len(merged.Entries) > 0 {
		if _, _, err := v.putSegment(ctx, collectSession+number(p.Number), merged); err != nil {
			return err
		}
	}
	for _, name := range names {
		err := v.st.Delete(ctx, name)
		if errors.Is(err, blob.ErrRetained) { // for a backup that came since
			continue
		}
		if err != nil {
			return fmt.Errorf("delete index segment: %w", err)
		}
		r.Segments++
	}
	return v.refresh(ctx)
}

// segmentPart reads a whole segment; nil for one that is gone or damaged.
func (v *Vault) segmentPart(ctx context.Context, name string) (*index.Part, error) {
	v.mu.Lock()
	s := v.segments[name]
	v.mu.Unlock()
	if s == nil {
		return nil, nil
	}
	part, err := s.CopiedPart(ctx)
	if err != nil && damage(err) {
		v.discard(&index.SegmentError{Segment: s, Err: err})
		return nil, nil
	}
	return part, err
}

// finishCollection removes what nobody needs any more, and marks the plan done.
func (v *Vault) finishCollection(ctx context.Context, p *CollectionPlan) error {
	dead, err := v.listStones(ctx)
	if err != nil {
		return err
	}
	if err := v.buryLost(ctx, dead); err != nil {
		return err
	}
	marks, err := v.listSessions(ctx)
	if err != nil {
		return err
	}
	maps.Copy(marks, dead.notices)
	maps.DeleteFunc(marks, func(s string, _ bool) bool { return !dead.ended[s] && !dead.kept[s] })
	if err := v.forgetSessions(ctx, slices.Sorted(maps.Keys(marks))); err != nil {
		return err
	}
	if err := v.forgetDamaged(ctx); err != nil {
		return err
	}
	if _, err := once(ctx, v, planName(p.Number)+doneSuffix, struct{}{}); err != nil {
		return err
	}
	for info, err := range v.st.List(ctx, planPrefix) {
		if err != nil {
			return fmt.Errorf("list plans: %w", err)
		}
		name := strings.TrimPrefix(info.Name, planPrefix)
		if n, ok := planNumber(name[:min(planDigits, len(name))]); ok && n < p.Number {
			if err := v.st.Delete(ctx, info.Name); err != nil {
				return fmt.Errorf("delete old plan: %w", err)
			}
		}
	}
	return nil
}

// buryLost removes the manifests of ended sessions, and those that a deleter has
// left behind.
func (v *Vault) buryLost(ctx context.Context, dead stones) error {
	if len(dead.ended) == 0 {
		return nil
	}
	var names []string
	for info, err := range v.st.List(ctx, manifest.Prefix) {
		if err != nil {
			return fmt.Errorf("list backups: %w", err)
		}
		if id := strings.TrimPrefix(info.Name, manifest.Prefix); CheckID(id) == nil {
			names = append(names, id)
		}
	}
	for _, id := range names {
		m, err := v.openManifest(ctx, id)
		if err == nil && m.Retained(time.Now()) {
			continue
		}
		if err == nil && dead.ended[m.Session] || dead.backups[id] {
			err = v.bury(ctx, id)
		}
		if err != nil && !damage(err) && !errors.Is(err, ErrNoBackup) {
			return err
		}
	}
	return nil
}
