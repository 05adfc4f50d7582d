package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sync/errgroup"

	"holdfast/vault"
)

// makeDisk writes the disk of the given size into a sparse file of that or a
// larger length.
func makeDisk(path string, size, length int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // the benchmark's own file
	if err != nil {
		return err
	}
	err = f.Truncate(length)
	if err == nil {
		err = writeFiles(f, layout(size))
	}
	return errors.Join(err, f.Close())
}

func writeFiles(f *os.File, files []content) error {
	var g errgroup.Group
	g.SetLimit(2)
	for _, c := range files {
		g.Go(func() error {
			buf := make([]byte, pieceSize)
			return c.pieces(func(off, size int64, seed uint64) error {
				c.kind.fill(buf[:size], seed)
				_, err := f.WriteAt(buf[:size], off)
				return err
			})
		})
	}
	return g.Wait()
}

const (
	changeShare = 100 // one byte in so many changes
	shortChange = 64 << 10
	longChange  = 1 << 20
)

// changes says where the disk changes in a round: half of the bytes in single
// places of 64 KiB, half in runs of 1 MiB, all where there is data.
func changes(size int64, round uint64) []vault.Range {
	d, files := dice(round*7919), layout(size)
	var ranges []vault.Range
	for left := [2]int64{size / changeShare / 2, size / changeShare / 2}; left[0] > 0 || left[1] > 0; {
		n, which := int64(longChange), 1
		if left[1] <= 0 {
			n, which = shortChange, 0
		}
		f := files[d.below(int64(len(files)))]
		if f.size < 4*shortChange {
			continue
		}
		off := (f.off + d.below(f.size)) / shortChange * shortChange
		ranges = append(ranges, vault.Range{Offset: off, Length: min(n, size-off)})
		left[which] -= n
	}
	return joined(ranges)
}

// joined is the ranges in ascending order without overlaps.
func joined(ranges []vault.Range) []vault.Range {
	slices.SortFunc(ranges, func(a, b vault.Range) int { return int(a.Offset - b.Offset) })
	out := ranges[:1]
	for _, r := range ranges[1:] {
		last := &out[len(out)-1]
		if end := last.Offset + last.Length; r.Offset <= end {
			last.Length = max(end, r.Offset+r.Length) - last.Offset
			continue
		}
		out = append(out, r)
	}
	return out
}

// change makes a round's changes in disks of the same layout and writes their list.
func change(size int64, round uint64, list string, disks ...string) error {
	ranges := changes(size, round)
	for _, path := range disks {
		if err := overwrite(path, ranges, round); err != nil {
			return err
		}
	}
	data, err := json.Marshal(ranges)
	if err != nil {
		return err
	}
	return os.WriteFile(list, data, 0o600)
}

func overwrite(path string, ranges []vault.Range, round uint64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0) //nolint:gosec // the benchmark's own file
	if err != nil {
		return err
	}
	d := dice(round)
	for _, r := range ranges {
		p := make([]byte, r.Length)
		code.fill(p, d.roll())
		if _, err := f.WriteAt(p, r.Offset); err != nil {
			return errors.Join(fmt.Errorf("change the disk: %w", err), f.Close())
		}
	}
	return f.Close()
}
