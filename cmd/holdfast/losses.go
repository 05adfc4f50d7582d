package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"holdfast"
	"holdfast/vault"
)

// loss is an extent of a disk that could not be restored; it reads as zeros.
type loss struct {
	Image  string `json:"image"`
	Offset int64  `json:"offset"` // bytes
	Length int64  `json:"length"` // bytes
	Reason string `json:"reason"`
}

// losses are what a partial restore could not write, in no order.
type losses []loss

// add is vault.RestoreOptions.Damaged of a restore that goes on.
func (l *losses) add(d *vault.DamagedError) error {
	*l = append(*l, loss{d.Image, d.Offset, d.Length, d.Err.Error()})
	return nil
}

// report prints the list, in the disk's order, what lies side by side for one
// reason joined. Any loss is an error, so that no script takes the disk for whole.
func (l *losses) report(out io.Writer) error {
	slices.SortFunc(*l, func(a, b loss) int { return cmp.Compare(a.Offset, b.Offset) })
	joined := []loss{}
	var bytes int64
	for _, n := range *l {
		bytes += n.Length
		if last := len(joined) - 1; last >= 0 && joined[last].Offset+joined[last].Length == n.Offset && joined[last].Reason == n.Reason {
			joined[last].Length += n.Length
			continue
		}
		joined = append(joined, n)
	}
	if err := printJSON(out, joined); err != nil {
		return err
	}
	if len(joined) > 0 {
		return holdfast.E(holdfast.CodeBackupDamaged, fmt.Sprintf("%d bytes of the disk are lost, and read as zeros in what was written.", bytes))
	}
	return nil
}
