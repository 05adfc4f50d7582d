package backup

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"

	"holdfast/compute"
	"holdfast/disk"
	"holdfast/vault"
)

// What change tracking calls unchanged is read in part all the same, and compared
// with the parent: a share of a disk's chunks, at least and at most so many.
const (
	sampleLeast = 64
	sampleMost  = 4096
)

// missedError: change tracking called something unchanged that is not.
type missedError struct {
	disk           string
	missed, looked int
	offset         int64 // of the first
}

func (e *missedError) Error() string {
	return fmt.Sprintf("change tracking missed a change of %s at byte %d: of %d chunks compared with the parent %d differ",
		e.disk, e.offset, e.looked, e.missed)
}

// sample is the journal's record of what is looked at of a point in time. Its seed
// is drawn only when the point is taken: no guest can foresee where a change that
// is hidden from the bitmap would be found.
type sample struct {
	Point compute.Point `json:"point"`
	Seed  [32]byte      `json:"seed"`
	// Done: it was read, and may have been released.
	Done bool `json:"done"`
}

// draw finds a predecessor's seed for this point in time, or draws one. It is
// saved before anything is released, so that a successor finds its sample whole.
func (b *attempt) draw(ctx context.Context) (sample, error) {
	var s sample
	found, err := b.run.Load(keySample, &s)
	if err != nil || found && s.Point == b.point.Handle.Point {
		return s, err
	}
	s = sample{Point: b.point.Handle.Point}
	_, _ = crand.Read(s.Seed[:]) // never fails
	return s, b.run.Save(ctx, keySample, s)
}

// pick chooses at random the chunks of a disk to be looked at, ascending: the same
// ones for the same seed, because what is clean of a point in time stays so.
func (b *attempt) pick(ctx context.Context, s sample, w piece, src disk.Source) ([]uint64, error) {
	if b.Sample <= 0 || w.parent == nil || s.Done {
		return nil, nil
	}
	seed := s.Seed
	for i, c := range []byte(w.name) {
		seed[i%len(seed)] ^= c // each disk has its own
	}
	all := float64(w.size) / float64(b.chunk())
	r := newReservoir(min(max(int(b.Sample*all), sampleLeast), sampleMost), rand.New(rand.NewChaCha8(seed))) //nolint:gosec // seeded by crypto/rand
	for c, err := range wholeChunks(w.extents(ctx, src), b.chunk(), w.size) {
		if err != nil {
			return nil, err
		}
		r.add(c)
	}
	return r.chosen(), nil
}

// look reads the sample, which from then on is released as all that is clean.
func (b *attempt) look(ctx context.Context, s sample, work pieces, k *brake) error {
	if s.Done {
		return nil
	}
	for _, w := range work {
		if len(w.sampled) == 0 {
			continue
		}
		b.run.Progress(0, work.total(), "Comparing a sample of "+w.name)
		if err := b.open(ctx, w.name, func(src disk.Source) error { return b.prove(ctx, w, src, k) }); err != nil {
			return err
		}
	}
	s.Done = true
	return b.run.Save(ctx, keySample, s)
}

// prove compares the sample of a disk with the parent: a *missedError if it
// differs.
func (b *attempt) prove(ctx context.Context, w piece, src disk.Source, k *brake) error {
	parent, err := b.vault.OpenImage(ctx, w.known)
	if err != nil {
		return err
	}
	missed := &missedError{disk: w.name, looked: len(w.sampled)}
	read, buf := &braked{ctx, src, k}, make([]byte, b.chunk())
	for _, i := range w.sampled {
		off := int64(i) * b.chunk() //nolint:gosec // below the disk's size
		p := buf[:min(b.chunk(), w.size-off)]
		if _, err := read.ReadAt(p, off); err != nil {
			return fmt.Errorf("backup: %s: look at byte %d: %w", w.name, off, err)
		}
		same, err := parent.Same(i, p)
		if _, damaged := errors.AsType[*vault.DamagedError](err); damaged {
			return fmt.Errorf("%w: %w", errParent, err)
		}
		if err != nil {
			return err
		}
		if same {
			continue
		}
		if missed.missed++; missed.missed == 1 {
			missed.offset = off
		}
	}
	if missed.missed > 0 {
		return missed
	}
	return nil
}
