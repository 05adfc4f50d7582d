package vault

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"holdfast/vault/blob"
	"holdfast/vault/chunk"
	"holdfast/vault/index"
	"holdfast/vault/pack"
)

// Repairs write packs and segments below this and digits of their own. No writer
// may use such a session.
const repairSession = "repair-"

// Healing puts back what a vault has lost: in a session, so that no collector
// takes away what it relies on. Its methods may be called concurrently.
type Healing struct {
	s         *Session
	loose     []index.Contents // packs that no segment covers
	manifests []Manifest
	segments  []string // damaged, to be removed
	dry       bool
}

// HealOptions say how a vault is healed.
type HealOptions struct {
	// Distrust are packs known to be damaged, beside those marked so.
	Distrust []string
	// DryRun stores nothing, and changes nothing.
	DryRun bool
}

// Heal runs fn and makes durable what it put: chunks, then index, then manifests.
// It may die at any time; what it has stored by then is found by the next one. A
// repair that is under way loses its session to this one: ErrSessionLost.
func (v *Vault) Heal(ctx context.Context, o HealOptions, fn func(context.Context, *Healing) error) error {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	if err := v.heal(ctx, repairSession+hex.EncodeToString(id[:]), o, fn); err != nil {
		return fmt.Errorf("heal vault: %w", err)
	}
	return nil
}

func (v *Vault) heal(ctx context.Context, id string, o HealOptions, fn func(context.Context, *Healing) error) error {
	if !o.DryRun {
		if err := v.ring.renew(ctx); err != nil {
			return err
		}
		if err := v.giveUpRepairs(ctx); err != nil {
			return err
		}
		if err := v.mark(ctx, id); err != nil {
			return err
		}
	}
	h, err := v.newHealing(ctx, id, o)
	if err == nil {
		err = fn(h.s.ctx, h)
		if err == nil && !o.DryRun {
			err = h.finish(ctx)
		}
		h.s.cancel(nil)
		h.s.uploads.Wait()
	}
	if o.DryRun {
		return err
	}
	// What was not finished is garbage, or relied on by nobody: nothing waits for it.
	return errors.Join(err, v.st.Delete(context.WithoutCancel(ctx), sessionPrefix+id))
}

// giveUpRepairs lets collectors end the sessions of repairs that died.
func (v *Vault) giveUpRepairs(ctx context.Context) error {
	marks, err := v.listSessions(ctx)
	if err != nil {
		return err
	}
	for s := range marks {
		if strings.HasPrefix(s, repairSession) {
			if err := v.notice(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *Vault) newHealing(ctx context.Context, id string, o HealOptions) (*Healing, error) {
	if err := v.refresh(ctx); err != nil {
		return nil, err
	}
	sound, err := v.usable(ctx)
	if err != nil {
		return nil, err
	}
	distrust := make(map[string]bool, len(o.Distrust))
	for _, name := range o.Distrust {
		distrust[name] = true
	}
	usable := func(p pack.Info) bool { return sound(p) && !distrust[p.Name()] }
	s, err := v.newSession(ctx, id, usable)
	if err != nil {
		return nil, err
	}
	h := &Healing{s: s, dry: o.DryRun}
	if h.loose, _, err = v.uncovered(ctx, pack.Prefix, v.current()); err != nil {
		return nil, err
	}
	var known []index.Contents
	for _, c := range h.loose {
		if usable(c.Info) {
			known = append(known, c)
		}
	}
	s.know(index.NewPart(known))
	return h, nil
}

// Has reports whether a chunk lies, or will, in a pack that nothing is known
// against, and how many bytes of plaintext the index says it has: 0 if it was put
// just now.
func (h *Healing) Has(id chunk.ID) (plain int64, ok bool, err error) {
	h.s.mu.Lock()
	_, taken := h.s.fresh[id]
	set := h.s.set
	h.s.mu.Unlock()
	if taken {
		return 0, true, nil
	}
	p, ok, err := h.s.find(set, id)
	return int64(p.Entry.Plain), ok, err
}

// Put stores a chunk that Has does not know. What is not the chunk's content is
// ErrContent.
func (h *Healing) Put(kind chunk.Kind, id chunk.ID, plain []byte) error {
	sc, err := h.s.v.borrow()
	if err != nil {
		return err
	}
	defer h.s.v.scratch.Put(sc)
	if len(plain) == 0 || len(plain) > h.s.v.maxPlain() || sc.hash.Sum(kind, plain) != id {
		return ErrContent
	}
	if mine, err := h.s.claim(id); err != nil || !mine || h.dry {
		return err
	}
	to, codec, payload := h.s.meta, chunk.Raw, plain
	if kind == chunk.Data {
		codec, payload = sc.enc.Encode(plain)
		to = h.s.data
	}
	if err := to.add(kind, id, codec, payload, len(plain)); err != nil {
		h.s.fail(err)
		return err
	}
	return nil
}

// Sum is the id that names a plaintext in this vault.
func (h *Healing) Sum(kind chunk.Kind, plain []byte) (chunk.ID, error) {
	sc, err := h.s.v.borrow()
	if err != nil {
		return chunk.ID{}, err
	}
	defer h.s.v.scratch.Put(sc)
	return sc.hash.Sum(kind, plain), nil
}

// Retire has damaged index segments removed in the end, if everything that they
// could tell is known from elsewhere by then.
func (h *Healing) Retire(segments []string) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	h.segments = append(h.segments, segments...)
}

// finish makes everything durable in the writers' order.
func (h *Healing) finish(ctx context.Context) error {
	if err := h.s.flush(); err != nil {
		return err
	}
	if len(h.loose) > 0 {
		if _, _, err := h.s.v.putSegment(ctx, h.s.id, index.NewPart(h.loose)); err != nil {
			return err
		}
	}
	var failed error
	for _, m := range h.manifests {
		if err := h.putBack(ctx, m); err != nil {
			failed = errors.Join(failed, fmt.Errorf("backup %s: %w", m.Backup, err))
		}
	}
	// Only a session that was not ended could rely on what it found.
	if err := errors.Join(failed, h.s.v.keep(ctx, h.s.id)); err != nil {
		return err
	}
	if err := h.retainAgain(ctx); err != nil {
		return err
	}
	return h.retire(ctx)
}

// retire removes segments that still cannot be read, unless there is a pack that
// only they could know: one whose own table cannot be read, and of which nobody
// said that it is damaged.
func (h *Healing) retire(ctx context.Context) error {
	if len(h.segments) == 0 {
		return nil
	}
	in, err := h.s.v.Inspect(ctx)
	if err != nil {
		return err
	}
	for _, name := range in.Uncovered() {
		if !in.damaged[name] {
			return nil
		}
	}
	for _, name := range h.segments {
		if in.DamagedSegments[name] == nil {
			continue
		}
		if err := h.s.v.st.Delete(ctx, name); err != nil && !errors.Is(err, blob.ErrRetained) {
			return fmt.Errorf("remove damaged index segment: %w", err)
		}
	}
	return nil
}
