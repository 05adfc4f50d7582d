package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast/vault/blob"
	"holdfast/vault/pack"
	"holdfast/vault/seal"
)

// Plans are numbered, and only the highest one counts: the next is published when
// it is done, and the lower ones are deleted after that. Its decision, what is
// deleted indeed, is never deleted itself, so that a collector that was asleep
// can never decide anew.
const (
	planDigits   = 8
	doneSuffix   = "-done"
	olderSuffix  = "-sessions"
	planListings = 5
)

func planName(n uint64) string { return planPrefix + number(n) }

func number(n uint64) string { return fmt.Sprintf("%0*d", planDigits, n) }

func planNumber(s string) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return n, err == nil && n > 0 && number(n) == s
}

// latestPlan is the highest plan's number, 0 if there is none, and whether it is done.
func (v *Vault) latestPlan(ctx context.Context) (n uint64, done bool, err error) {
	finished := map[uint64]bool{}
	for info, err := range v.st.List(ctx, planPrefix) {
		if err != nil {
			return 0, false, fmt.Errorf("list plans: %w", err)
		}
		name := strings.TrimPrefix(info.Name, planPrefix)
		if d, ok := planNumber(strings.TrimSuffix(name, doneSuffix)); ok && strings.HasSuffix(name, doneSuffix) {
			finished[d] = true
		} else if d, ok := planNumber(name); ok {
			n = max(n, d)
		}
	}
	return n, n == 0 || finished[n], nil
}

// openPlan returns the published plan that is not done, or nil.
func (v *Vault) openPlan(ctx context.Context) (*CollectionPlan, error) {
	for range planListings {
		n, done, err := v.latestPlan(ctx)
		if err != nil || done {
			return nil, err
		}
		p, err := v.readPlan(ctx, n)
		if !errors.Is(err, blob.ErrNotFound) { // else it was done, and another came
			return p, err
		}
	}
	return nil, ErrCollecting
}

func (v *Vault) readPlan(ctx context.Context, n uint64) (*CollectionPlan, error) {
	name := planName(n)
	data, err := v.st.Get(ctx, name, maxPlan)
	if err != nil {
		return nil, fmt.Errorf("read plan: %w", err)
	}
	plain, err := seal.OpenObject(v.ring, seal.Plan, name, data)
	if err != nil {
		return nil, fmt.Errorf("read plan %d: %w", n, err)
	}
	p, err := decodePlan(plain)
	if err != nil || p.Number != n {
		return nil, fmt.Errorf("read plan %d: it is malformed: %w", n, errors.Join(err, seal.ErrSealed))
	}
	p.Published = true
	return p, nil
}

// usable says which packs a session that begins now may refer to: none that is
// condemned, none that was found damaged. The session's mark must be there
// already. While a plan stands that cannot be read, none is.
func (v *Vault) usable(ctx context.Context) (func(pack.Info) bool, error) {
	p, err := v.openPlan(ctx)
	if damage(err) {
		return func(pack.Info) bool { return false }, nil
	}
	if err != nil {
		return nil, err
	}
	without, err := v.distrusted(ctx)
	if err != nil {
		return nil, err
	}
	if p != nil {
		for _, c := range p.Condemned {
			without[c.Name] = true
		}
	}
	return func(p pack.Info) bool { return !without[p.Name()] }, nil
}

// giveUp makes way for another plan where the published one cannot be read: unless
// something was decided already, nothing is.
func (v *Vault) giveUp(ctx context.Context, cause error) error {
	n, done, err := v.latestPlan(ctx)
	if err != nil || done {
		return err
	}
	d, err := once(ctx, v, tombPlan+number(n), decision{Plan: n})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(d.Doomed, func(b byte) bool { return b != 0 }) {
		return fmt.Errorf("what is left of plan %d is not known: %w", n, cause)
	}
	_, err = once(ctx, v, planName(n)+doneSuffix, struct{}{})
	return err
}

// publish makes a plan the one that counts. From then on no session that begins
// refers to what it condemns.
func (v *Vault) publish(ctx context.Context, p *CollectionPlan) error {
	if p.Published {
		return nil
	}
	plain, err := p.encode()
	if err != nil {
		return fmt.Errorf("publish plan: %w", err)
	}
	if len(plain) > maxPlan-seal.HeaderSize-seal.Overhead {
		return fmt.Errorf("publish plan: %w", blob.ErrTooLarge)
	}
	name := planName(p.Number)
	data, err := v.sealed(name, plain)
	if err != nil {
		return err
	}
	stood, err := v.putOnce(ctx, name, data)
	if err != nil {
		return fmt.Errorf("publish plan: %w", err)
	}
	if !slices.Equal(stood, data) {
		return ErrCollecting
	}
	if err := v.stillLatest(ctx, p.Number); err != nil {
		return err
	}
	p.Published = true
	return nil
}

func (v *Vault) stillLatest(ctx context.Context, n uint64) error {
	latest, _, err := v.latestPlan(ctx)
	if err == nil && latest != n {
		err = ErrCollecting
	}
	return err
}

func (v *Vault) sealed(name string, plain []byte) ([]byte, error) {
	return seal.Object(v.ring, seal.NewHeader(seal.Plan, v.ring.Current()), name, plain)
}

// once publishes what is decided once for a plan, and returns what stands.
func once[T any](ctx context.Context, v *Vault, name string, value T) (stands T, err error) {
	plain, err := json.Marshal(value)
	if err != nil {
		return stands, err
	}
	data, err := v.sealed(name, plain)
	if err != nil {
		return stands, err
	}
	stood, err := v.putOnce(ctx, name, data)
	if err != nil {
		return stands, fmt.Errorf("put %s: %w", name, err)
	}
	return unsealed[T](v, name, stood)
}

func unsealed[T any](v *Vault, name string, data []byte) (value T, err error) {
	plain, err := seal.OpenObject(v.ring, seal.Plan, name, data)
	if err == nil {
		err = json.Unmarshal(plain, &value)
	}
	if err != nil {
		return value, fmt.Errorf("read %s: %w", name, err)
	}
	return value, nil
}

// recall reads what was decided, and reports whether anything was.
func recall[T any](ctx context.Context, v *Vault, name string) (value T, found bool, err error) {
	data, err := v.st.Get(ctx, name, maxPlan)
	if errors.Is(err, blob.ErrNotFound) {
		return value, false, nil
	}
	if err == nil {
		value, err = unsealed[T](v, name, data)
	}
	return value, err == nil, err
}
