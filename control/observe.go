package control

import (
	"context"

	"holdfast"
	"holdfast/store"
)

// ObservePower notes that a VPS was seen in another power state than was known:
// its guest may power itself off. While an operation works on the VPS's power,
// that operation's word counts and nothing is noted.
func (c *Control) ObservePower(ctx context.Context, id holdfast.VPSID, known, seen holdfast.PowerState) error {
	return c.urgent(ctx, "control.ObservePower", func(tx *store.Tx) error {
		running, err := tx.ActiveOperations(ctx, id)
		if err != nil {
			return err
		}
		for _, o := range running {
			if o.Kind.MovesPower() {
				return nil
			}
		}
		v, err := tx.VPS(ctx, id)
		if err != nil || v.Power != known {
			return err
		}
		return tx.SetPower(ctx, id, seen)
	})
}
