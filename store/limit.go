package store

import (
	"context"
	"errors"
	"time"

	"github.com/uptrace/bun"
)

type limitRow struct {
	bun.BaseModel `bun:"table:rate_limits,alias:rate_limits"`

	Caller  string `bun:",pk"`
	WholeAt micros
}

// Charge is what a caller is to be charged by the generic cell rate algorithm (ITU-T
// I.371): all that is kept of it is the time at which its burst is whole again.
type Charge struct {
	Cost  time.Duration // of what is wanted: requests by the time that each takes to come back
	Hold  time.Duration // for how long it may be used; 0: now
	Burst time.Duration // the most that may be owed
}

// ChargeCaller charges a caller in one statement, if it can bear it, and says how far
// ahead the time lies at which its burst is whole, with the charge or without.
//
// What may be used later is charged as if that were at the last moment: so whatever
// several processes hold, all uses together keep to the algorithm.
func (t *Tx) ChargeCaller(ctx context.Context, caller string, c Charge) (granted bool, whole time.Duration, err error) {
	at, err := t.LeaseNow(ctx)
	if err != nil {
		return false, 0, err
	}
	// Parts of a microsecond count for the limit, never against it.
	now, cost, burst := toMicros(at), micros((c.Cost + time.Microsecond - 1).Microseconds()), micros(c.Burst.Microseconds())
	from := now + micros(c.Hold.Microseconds())
	ahead := func(m micros) time.Duration { return time.Duration(max(m-now, 0)) * time.Microsecond }
	var after micros
	if from+cost <= now+burst {
		// A time further ahead than can be owed was written before the clock was set
		// back, or the limit changed.
		const owed = "(CASE WHEN rate_limits.whole_at > ?2 THEN ?2 WHEN rate_limits.whole_at > ?1 THEN rate_limits.whole_at ELSE ?1 END + ?3)"
		err = t.db.NewRaw("INSERT INTO rate_limits (caller, whole_at) VALUES (?0, ?1 + ?3)"+
			" ON CONFLICT (caller) DO UPDATE SET whole_at = "+owed+" WHERE "+owed+" <= ?2 RETURNING whole_at",
			caller, from, now+burst, cost).Scan(ctx, &after)
		if err == nil {
			return true, ahead(after), nil
		}
		if err = failed("charge", err); !errors.Is(err, ErrNotFound) {
			return false, 0, err
		}
	}
	err = failed("charge", t.db.NewSelect().Model((*limitRow)(nil)).Column("whole_at").Where("caller = ?", caller).Scan(ctx, &after))
	if errors.Is(err, ErrNotFound) {
		return false, 0, nil
	}
	return false, ahead(min(after, now+burst)), err
}

// ForgetLimits removes up to limit callers whose burst is whole, and says how many.
func (t *Tx) ForgetLimits(ctx context.Context, limit int) (int, error) {
	now, err := t.LeaseNow(ctx)
	if err != nil {
		return 0, err
	}
	whole := t.db.NewSelect().Model((*limitRow)(nil)).Column("caller").
		Where("whole_at < ?", toMicros(now)).Order("whole_at").Limit(int64(limit))
	res, err := t.db.NewDelete().Model((*limitRow)(nil)).Where("whole_at < ? AND caller IN (?)", toMicros(now), whole).Exec(ctx)
	if err != nil {
		return 0, failed("forget limits", err)
	}
	n, err := res.RowsAffected()
	return int(n), failed("forget limits", err)
}
