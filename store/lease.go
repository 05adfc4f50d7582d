package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"holdfast"
)

// maxDelay bounds how far ahead the next try of an operation may lie.
const maxDelay = time.Hour

// Held names a claim: the only one whose writes count.
type Held struct {
	Job    holdfast.JobID
	Epoch  int64
	Runner string
	// Host, when set, must be the operation's: the host that speaks can touch
	// no other host's work.
	Host holdfast.HostID
}

func (h Held) where(u *bun.UpdateQuery) *bun.UpdateQuery {
	u = u.Where("id = ? AND epoch = ? AND runner = ? AND status = ?", h.Job, h.Epoch, h.Runner, holdfast.OperationInProgress)
	if h.Host != "" {
		u = u.Where("host_id = ?", h.Host)
	}
	return u
}

// ClaimOperation takes the oldest operation of a host that is due: queued, or
// in progress with a lease that has expired by a clock that ran evenly meanwhile.
// It raises the epoch, and gives ErrNotFound when there is none. Then, too, its
// transaction is to be committed. It goes beside others in TxLease.
func (t *Tx) ClaimOperation(ctx context.Context, host holdfast.HostID, kinds []holdfast.Kind, runner string, ttl time.Duration) (holdfast.Operation, error) {
	if len(kinds) == 0 {
		return holdfast.Operation{}, failed("claim", ErrNotFound)
	}
	now, err := t.LeaseNow(ctx)
	if err != nil {
		return holdfast.Operation{}, err
	}
	if t.clock.setBack() {
		if err := t.clampLeases(ctx); err != nil {
			return holdfast.Operation{}, err
		}
	}
	o, err := one[operationRow](ctx, &t.queries, "claim", func(s *bun.SelectQuery) *bun.SelectQuery {
		return forClaim(s.Where("host_id = ? AND kind IN ?", host, bun.Tuple(kinds)).
			Where("((status = ? AND not_before <= ?) OR (status = ? AND lease_until < ? AND lease_ttl <= ?))",
				holdfast.OperationQueued, toMicros(now), holdfast.OperationInProgress, toMicros(now), t.clock.even().Microseconds()).
			Order("created_at", "id"))
	})
	if err != nil {
		return holdfast.Operation{}, err
	}
	begun, err := t.Now(ctx)
	if err != nil {
		return holdfast.Operation{}, err
	}
	res, err := t.db.NewUpdate().Model((*operationRow)(nil)).
		Set("status = ?", holdfast.OperationInProgress).Set("epoch = epoch + 1").Set("runner = ?", runner).
		Set("lease_until = ?", toMicros(now.Add(ttl))).Set("lease_ttl = ?", ttl.Microseconds()).
		Set("started_at = CASE WHEN started_at = 0 THEN ? ELSE started_at END", toMicros(begun)).
		Where("id = ? AND epoch = ?", o.ID, o.Epoch).Exec(ctx)
	if err := touched("claim", res, err); err != nil {
		return holdfast.Operation{}, err
	}
	return t.Operation(ctx, o.ID)
}

// RenewOperation extends a lease, publishes progress and gives the operation as
// it is now. ErrNotFound: the lease is not held any more.
func (t *Tx) RenewOperation(ctx context.Context, h Held, ttl time.Duration, p holdfast.Progress) (holdfast.Operation, error) {
	now, err := t.LeaseNow(ctx)
	if err != nil {
		return holdfast.Operation{}, err
	}
	u := t.db.NewUpdate().
		Model(&operationRow{Progress: p, LeaseUntil: toMicros(now.Add(ttl)), LeaseTTL: ttl.Microseconds()}).
		Column("progress", "lease_until", "lease_ttl")
	res, err := h.where(u).Exec(ctx)
	if err := touched("renew", res, err); err != nil {
		return holdfast.Operation{}, err
	}
	return t.Operation(ctx, h.Job)
}

// HeldOperation reads the operation of a claim; ErrNotFound: the lease is not
// held any more.
func (q *queries) HeldOperation(ctx context.Context, h Held) (holdfast.Operation, error) {
	return one[operationRow](ctx, q, "held operation", func(s *bun.SelectQuery) *bun.SelectQuery {
		s = s.Where("id = ? AND epoch = ? AND runner = ? AND status = ?", h.Job, h.Epoch, h.Runner, holdfast.OperationInProgress)
		if h.Host != "" {
			s = s.Where("host_id = ?", h.Host)
		}
		return s
	})
}

// GiveBack ends a lease and queues its operation again after a delay; counted
// says whether the claim counts as an attempt. ErrNotFound: the lease is not
// held any more.
func (t *Tx) GiveBack(ctx context.Context, h Held, delay time.Duration, counted bool) error {
	now, err := t.LeaseNow(ctx)
	if err != nil {
		return err
	}
	add := 0
	if counted {
		add = 1
	}
	u := t.db.NewUpdate().Model((*operationRow)(nil)).
		Set("status = ?", holdfast.OperationQueued).Set("runner = ''").Set("lease_until = 0").
		Set("not_before = ?", toMicros(now.Add(min(max(delay, 0), maxDelay)))).
		Set("attempts = attempts + ?", add)
	res, err := h.where(u).Exec(ctx)
	if err := touched("give back", res, err); err != nil {
		return err
	}
	t.queued = true
	return nil
}

// EndOperation ends a lease and its operation: completed with a result (JSON,
// may be empty), or failed when failure is not nil. The journal goes with it.
// ErrNotFound: the lease is not held any more.
func (t *Tx) EndOperation(ctx context.Context, h Held, result []byte, failure *holdfast.Failure) error {
	now, err := t.Now(ctx)
	if err != nil {
		return err
	}
	r := operationRow{Status: holdfast.OperationCompleted, FinishedAt: toMicros(now), Failure: failure}
	if failure != nil {
		r.Status = holdfast.OperationFailed
	} else if len(result) > 0 {
		s := string(result)
		r.Result = &s
	}
	u := t.db.NewUpdate().Model(&r).Column("status", "result", "failure", "finished_at", "runner", "lease_until", "journal_bytes")
	res, err := h.where(u).Exec(ctx)
	if err := touched("end operation", res, err); err != nil {
		return err
	}
	_, err = t.db.NewDelete().Model((*journalRow)(nil)).Where("operation_id = ?", h.Job).Exec(ctx)
	return failed("end operation", err)
}

// clampLeases brings leases, delays and what is due that lie further ahead than they can,
// because the clock was set back, to what they would be if they began now.
func (t *Tx) clampLeases(ctx context.Context) error {
	at, err := t.LeaseNow(ctx)
	if err != nil {
		return err
	}
	now := toMicros(at)
	if _, err := t.db.NewUpdate().Model((*operationRow)(nil)).Set("lease_until = ? + lease_ttl", now).
		Where("status = ? AND lease_until > ? + lease_ttl", holdfast.OperationInProgress, now).Exec(ctx); err != nil {
		return failed("clamp leases", err)
	}
	last := now + micros(maxDelay.Microseconds())
	if _, err := t.db.NewUpdate().Model((*operationRow)(nil)).Set("not_before = ?", now).
		Where("status = ? AND not_before > ?", holdfast.OperationQueued, last).Exec(ctx); err != nil {
		return failed("clamp leases", err)
	}
	for _, upkeep := range []any{(*copyRow)(nil), (*garbageRow)(nil), (*generationRow)(nil), (*snapshotRow)(nil), (*scheduleRow)(nil)} {
		if _, err := t.db.NewUpdate().Model(upkeep).Set("due_at = ?", now).Where("due_at > ?", last).Exec(ctx); err != nil {
			return failed("clamp leases", err)
		}
	}
	return nil
}
