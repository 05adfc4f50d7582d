package control

import (
	"context"
	"time"

	"holdfast/store"
)

// Charge is what a caller is to be charged for requests.
type Charge struct {
	Cost  time.Duration // requests, by the time that each takes to come back
	Hold  time.Duration // for how long they may be made; 0: now
	Burst time.Duration // the most that may be owed
}

// ChargeCaller charges a caller with requests, if it can bear them, for all processes
// on the database together. whole is how far ahead the time lies at which its burst
// is whole again.
func (c *Control) ChargeCaller(ctx context.Context, caller string, charge Charge) (granted bool, whole time.Duration, err error) {
	err = c.store.TxLease(ctx, func(tx *store.Tx) error {
		var err error
		granted, whole, err = tx.ChargeCaller(ctx, caller, store.Charge(charge))
		return err
	})
	return granted, whole, told("control.ChargeCaller", err)
}
