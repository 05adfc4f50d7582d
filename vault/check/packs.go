package check

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"

	"golang.org/x/sync/errgroup"

	"holdfast/vault"
	"holdfast/vault/chunk"
)

// readPacks proves the bytes of the packs, as far as the options ask for it.
func (c *checker) readPacks(ctx context.Context) error {
	var read []string
	var total int64
	for _, name := range c.in.Packs() {
		size := c.in.PackSize(name)
		c.r.Packs++
		c.r.PackBytes += size
		if c.o.ReadData || rand.Float64() < c.o.Sample { //nolint:gosec // a sample needs no secrecy
			read = append(read, name)
			total += size
		}
	}
	workers := c.o.Workers
	if workers <= 0 {
		workers = 2
	}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	for _, name := range read {
		g.Go(func() error {
			_, bad, err := c.in.VerifyPack(ctx, name)
			if err != nil && !vault.Damage(err) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			c.packRead(name, bad, err)
			if c.o.Progress != nil {
				c.o.Progress(c.r.BytesRead, total)
			}
			return nil
		})
	}
	return g.Wait()
}

func (c *checker) packRead(name string, bad map[chunk.ID]error, err error) {
	c.r.BytesRead += c.in.PackSize(name)
	if err != nil {
		if c.torn[name] {
			return // told already
		}
		c.torn[name] = true // its chunks are proved one by one where the index says
		c.r.Blobs = append(c.r.Blobs, Blob{name, err.Error()})
		return
	}
	for id, err := range bad {
		c.bad[badChunk{name, id}] = err
	}
	if len(bad) > 0 {
		for _, err := range bad {
			c.r.Blobs = append(c.r.Blobs, Blob{name, err.Error()})
			break
		}
	}
}

func isDeleted(err error) bool { return errors.Is(err, vault.ErrNoBackup) }
