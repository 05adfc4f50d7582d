package main

import (
	"context"
	"slices"
	"time"
)

const (
	readSize = 64 << 10
	reads    = 4000
)

// randomReads reads 64 KiB at random places of the disk's data, from a vault
// whose index is loaded and whose packs are in the system's cache.
func randomReads(ctx context.Context, dir, id string) (report, error) {
	v, err := openVault(ctx, dir)
	if err != nil {
		return report{}, err
	}
	im, err := openImage(ctx, v, id)
	if err != nil {
		return report{}, err
	}
	files, d := layout(im.Size()), dice(3)
	p := make([]byte, readSize)
	times := make([]float64, 0, reads)
	for i := range 2 * reads {
		f := files[d.below(int64(len(files)))]
		off := min(f.off+d.below(f.size)/block*block, im.Size()-readSize)
		began := time.Now()
		if _, err := im.ReadAt(p, off); err != nil {
			return report{}, err
		}
		if i >= reads { // those before have warmed it up
			times = append(times, time.Since(began).Seconds())
		}
	}
	slices.Sort(times)
	return report{P50: times[len(times)/2], P99: times[len(times)*99/100]}, nil
}
