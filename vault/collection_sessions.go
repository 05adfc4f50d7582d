package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"holdfast/vault/blob"
	"holdfast/vault/index"
	"holdfast/vault/pack"
)

// waiter settles the sessions that are older than a plan: each ends by itself or
// is ended.
type waiter struct {
	v     *Vault
	o     CollectOptions
	older map[string]bool
	dead  map[string]bool // known to be
	ended []string
}

// progress is how far a session has come, and since when.
type progress struct {
	blobs int
	bytes int64
	since time.Time // with the monotonic clock
}

// settleSessions returns when no session that began before the plan was published
// can complete a backup any more. It returns those it ended.
func (v *Vault) settleSessions(ctx context.Context, p *CollectionPlan, o CollectOptions) ([]string, error) {
	// What is listed now holds every older session that is not over. The first such
	// list stands, so that a collector that resumes waits for no younger ones.
	marks, err := v.listSessions(ctx)
	if err != nil {
		return nil, err
	}
	older, err := once(ctx, v, planName(p.Number)+olderSuffix, slices.Sorted(maps.Keys(marks)))
	if err != nil {
		return nil, err
	}
	w := &waiter{v: v, o: o, older: map[string]bool{}, dead: map[string]bool{}}
	for _, s := range p.Ends {
		w.dead[s] = true
	}
	for _, s := range older {
		w.older[s] = true
	}
	err = w.run(ctx)
	return w.ended, err
}

func (w *waiter) run(ctx context.Context) error {
	began := time.Now()
	for {
		open, idle, err := w.look(ctx)
		if err != nil {
			return err
		}
		w.o.Progress("wait for sessions", len(w.older)-len(open), len(w.older))
		if len(idle) > 0 {
			if err := w.v.endSessions(ctx, idle); err != nil {
				return err
			}
			w.ended = append(w.ended, idle...)
			continue
		}
		if len(open) == 0 {
			return nil
		}
		if w.o.Wait > 0 && time.Since(began) >= w.o.Wait {
			return &WaitingError{open}
		}
		t := time.NewTimer(w.o.Poll)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
}

// look returns the sessions that are not over, and those of them to be ended.
func (w *waiter) look(ctx context.Context) (open, idle []string, err error) {
	// Marks first: one that a session has deleted is over for good.
	marks, err := w.v.listSessions(ctx)
	if err != nil {
		return nil, nil, err
	}
	dead, err := w.v.listStones(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range slices.Sorted(maps.Keys(w.older)) {
		if !marks[s] || dead.ended[s] || dead.kept[s] {
			delete(w.o.Watch.seen, s)
			continue
		}
		open = append(open, s)
		still, err := w.still(ctx, s)
		if err != nil {
			return nil, nil, err
		}
		switch state := w.o.Session(s); {
		case state == SessionDead, state == SessionUnknown && (still || w.dead[s] || dead.notices[s]):
			idle = append(idle, s)
		}
	}
	return open, idle, nil
}

// still reports whether a session has put nothing for too long.
func (w *waiter) still(ctx context.Context, session string) (bool, error) {
	now := progress{since: time.Now()}
	for _, prefix := range []string{pack.Prefix, index.Prefix} {
		for info, err := range w.v.st.List(ctx, prefix+session+"/") {
			if err != nil {
				return false, fmt.Errorf("list session: %w", err)
			}
			now.blobs++
			now.bytes += info.Size
		}
	}
	last, ok := w.o.Watch.seen[session]
	if !ok || last.blobs != now.blobs || last.bytes != now.bytes {
		w.o.Watch.seen[session] = now
		last = now
	}
	return time.Since(last.since) >= w.o.Idle, nil
}

// endSessions settles whether the sessions have completed their backups, for good
// (see ending.go), and removes their marks.
func (v *Vault) endSessions(ctx context.Context, sessions []string) error {
	for _, s := range sessions {
		if err := v.st.PutNew(ctx, noticePrefix+s, nil); err != nil && !errors.Is(err, blob.ErrExists) {
			return fmt.Errorf("end session %s: %w", s, err)
		}
	}
	dead, err := v.listStones(ctx)
	if err != nil {
		return err
	}
	all, err := v.manifests(ctx, dead)
	if err != nil {
		return err
	}
	complete := sessionsOf(all)
	for _, s := range sessions {
		var verdict []byte
		if complete[s] {
			verdict = keptMark
		}
		if err := v.st.PutNew(ctx, tombSession+s, verdict); err != nil && !errors.Is(err, blob.ErrExists) {
			return fmt.Errorf("end session %s: %w", s, err)
		}
	}
	return v.forgetSessions(ctx, sessions)
}

// forgetSessions removes what is no more needed of sessions whose tombstones stand.
func (v *Vault) forgetSessions(ctx context.Context, sessions []string) error {
	for _, s := range sessions {
		for _, name := range []string{sessionPrefix + s, noticePrefix + s} {
			if err := v.st.Delete(ctx, name); err != nil {
				return fmt.Errorf("end session %s: %w", s, err)
			}
		}
	}
	return nil
}
