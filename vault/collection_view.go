package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"holdfast/vault/blob"
	"holdfast/vault/manifest"
)

// stones are the tombstones and notices as they were listed.
type stones struct {
	backups map[string]bool // deleted
	ended   map[string]bool // sessions
	kept    map[string]bool // sessions that no collector can end any more
	plans   []uint64        // decided
	notices map[string]bool
}

func (v *Vault) listStones(ctx context.Context) (stones, error) {
	s := stones{map[string]bool{}, map[string]bool{}, map[string]bool{}, nil, map[string]bool{}}
	// Notices first: one goes only after its tombstone stands.
	for info, err := range v.st.List(ctx, noticePrefix) {
		if err != nil {
			return s, fmt.Errorf("list notices: %w", err)
		}
		s.notices[strings.TrimPrefix(info.Name, noticePrefix)] = true
	}
	for info, err := range v.st.List(ctx, tombPrefix) {
		if err != nil {
			return s, fmt.Errorf("list tombstones: %w", err)
		}
		if id, ok := strings.CutPrefix(info.Name, tombBackup); ok {
			s.backups[id] = true
		} else if id, ok := strings.CutPrefix(info.Name, tombSession); ok && info.Size == 0 {
			s.ended[id] = true
		} else if ok {
			s.kept[id] = true
		} else if n, ok := planNumber(strings.TrimPrefix(info.Name, tombPlan)); ok {
			s.plans = append(s.plans, n)
		}
	}
	return s, nil
}

// manifests reads every manifest that counts, or may come to count. The
// tombstones must have been listed before.
func (v *Vault) manifests(ctx context.Context, dead stones) ([]Manifest, error) {
	var names []string
	for info, err := range v.st.List(ctx, manifest.Prefix) {
		if err != nil {
			return nil, fmt.Errorf("list backups: %w", err)
		}
		if id := strings.TrimPrefix(info.Name, manifest.Prefix); CheckID(id) == nil {
			names = append(names, id)
		}
	}
	var all []Manifest
	for _, id := range names {
		m, err := v.openManifest(ctx, id)
		if errors.Is(err, ErrNoBackup) {
			continue // deleted since it was listed
		}
		if dead.backups[id] && (damage(err) || err == nil && !m.Retained(time.Now())) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("backup %s: %w", id, err)
		}
		if !dead.ended[m.Session] || m.Retained(time.Now()) {
			all = append(all, m)
		}
	}
	return all, nil
}

func (v *Vault) listSessions(ctx context.Context) (map[string]bool, error) {
	marks := map[string]bool{}
	for info, err := range v.st.List(ctx, sessionPrefix) {
		if err != nil {
			return nil, fmt.Errorf("list sessions: %w", err)
		}
		if id := strings.TrimPrefix(info.Name, sessionPrefix); CheckID(id) == nil {
			marks[id] = true
		}
	}
	return marks, nil
}

func sessionsOf(all []Manifest) map[string]bool {
	s := map[string]bool{}
	for _, m := range all {
		s[m.Session] = true
	}
	return s
}

// putOnce puts a blob that several may put, and returns the bytes that stand.
func (v *Vault) putOnce(ctx context.Context, name string, data []byte) ([]byte, error) {
	err := v.st.PutNew(ctx, name, data)
	if !errors.Is(err, blob.ErrExists) {
		return data, err
	}
	data, err = v.st.Get(ctx, name, maxPlan)
	if errors.Is(err, blob.ErrNotFound) {
		return nil, ErrCollecting // the plan is done, and another came
	}
	return data, err
}
