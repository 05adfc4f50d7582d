package check

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/chunk"
	"holdfast/vault/pack"
)

// readPacks proves the bytes of the packs, as far as the options ask for it, once.
func (c *checker) readPacks(ctx context.Context) error {
	names := c.in.Packs()
	var total int64
	for _, name := range names {
		c.r.Packs++
		c.r.PackBytes += c.in.PackSize(name)
	}
	if c.read {
		return nil
	}
	c.read = true
	names = c.chosen(names)
	for _, name := range names {
		total += c.in.PackSize(name)
	}
	workers := c.o.Workers
	if workers <= 0 {
		workers = 2
	}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	for _, name := range names {
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

// chosen are the packs to be read.
func (c *checker) chosen(names []string) []string {
	if c.o.ReadData {
		return names
	}
	n := int(math.Ceil(min(max(c.o.Sample, 0), 1) * float64(len(names))))
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] }) //nolint:gosec // a sample needs no secrecy
	return names[:n]
}

func (c *checker) packRead(name string, bad map[chunk.ID]error, err error) {
	c.r.BytesRead += c.in.PackSize(name)
	c.r.PacksRead++
	if errors.Is(err, blob.ErrNotFound) {
		return // collected since it was listed; if not, it is missing to those that need it
	}
	if err != nil {
		c.torn[name] = err.Error()
	}
	for id, err := range bad {
		c.bad[badChunk{name, id}] = err
	}
}

// gather lists the stored packs that are damaged and were not known to be.
func (c *checker) gather() {
	fresh := map[string]bool{}
	for _, name := range c.in.Packs() {
		fresh[name] = true
	}
	for _, name := range c.r.Known {
		delete(fresh, name)
	}
	add := func(name, reason string) {
		if fresh[name] {
			delete(fresh, name)
			c.r.Blobs = append(c.r.Blobs, Blob{name, reason})
		}
	}
	for name, reason := range c.torn {
		add(name, reason)
	}
	for at, err := range c.bad {
		add(at.pack, err.Error())
	}
	slices.SortFunc(c.r.Blobs, func(a, b Blob) int { return strings.Compare(a.Name, b.Name) })
}

// mark tells the writers. A site that takes nothing is no reason not to report.
func (c *checker) mark(ctx context.Context) {
	for _, b := range c.r.Blobs {
		if !strings.HasPrefix(b.Name, pack.Prefix) {
			continue
		}
		if err := c.v.MarkDamaged(ctx, b.Name); err != nil && c.r.NotMarked == "" {
			c.r.NotMarked = err.Error()
		}
	}
}
