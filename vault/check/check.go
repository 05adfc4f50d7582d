// Package check proves what a vault promises: that every backup is whole, by its structure or by every byte.
package check

import (
	"context"
	"errors"
	"fmt"

	"holdfast/vault"
	"holdfast/vault/chunk"
	"holdfast/vault/pack"
)

// Options say how much is proved. Structure is always: every manifest, every
// tree, the place of every chunk, and the bytes of packs that were found damaged
// before.
type Options struct {
	// ReadData reads and proves every stored byte.
	ReadData bool
	// Sample, between 0 and 1, reads that share of the packs instead, rounded up,
	// others each time: n checks find a damaged pack with the chance 1-(1-Sample)ⁿ.
	Sample float64
	// Expect are backups that should be there: one whose manifest is missing and
	// that was not deleted is damage.
	Expect []string
	// Mark tells all writers of packs that are found damaged, so that no later
	// backup relies on them.
	Mark bool
	// Workers read in parallel; 0 means 2.
	Workers int
	// Progress, if set, is called in turn with the bytes of packs read and to be read.
	Progress func(done, total int64)
}

// Report is what a check found. It is whole only if OK.
type Report struct {
	OK        bool     `json:"ok"`
	Backups   int      `json:"backups"`
	Images    int      `json:"images"`
	Chunks    uint64   `json:"chunks"` // in all images together, shared ones counted each time
	Packs     int      `json:"packs"`
	PackBytes int64    `json:"packBytes"`
	PacksRead int      `json:"packsRead"`
	Segments  int      `json:"indexSegments"`
	BytesRead int64    `json:"bytesRead"`
	Damages   []Damage `json:"damages"`
	More      int      `json:"moreDamages,omitempty"` // not listed
	// Blobs are the damaged packs and index segments themselves. A damaged segment
	// is made up for by the packs' own tables, and a chunk may have a second place
	// or be garbage, so this alone need not harm a backup.
	Blobs []Blob `json:"damagedBlobs"`
	// Known are the packs that were found damaged before and are still there. What
	// can be read of them is; the collection after a repair removes them.
	Known []string `json:"knownDamagedPacks,omitempty"`
	// NotMarked says why damaged packs could not be marked as such.
	NotMarked string `json:"notMarked,omitempty"`
}

// Blob is a damaged blob.
type Blob struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// A check is done again so often for a collection that runs meanwhile.
const rounds = 4

// Run checks a vault. Damage is in the report; an error means that the check
// itself could not be done.
func Run(ctx context.Context, v *vault.Vault, o Options) (Report, error) {
	c := &checker{v: v, o: o, bad: map[badChunk]error{}, torn: map[string]string{}}
	if err := c.run(ctx); err != nil {
		return Report{}, fmt.Errorf("check vault: %w", err)
	}
	c.r.OK = len(c.r.Damages) == 0 && len(c.r.Blobs) == 0
	return c.r, nil
}

type checker struct {
	v   *vault.Vault
	o   Options
	in  *vault.Inspection
	r   Report
	bad map[badChunk]error
	// torn are packs whose chunks are proved one by one, and what is wrong with
	// them; "" for what was found before.
	torn map[string]string
	read bool // the packs are
}

type badChunk struct {
	pack string
	id   chunk.ID
}

func (c *checker) run(ctx context.Context) error {
	for range rounds {
		if err := c.round(ctx); err != nil {
			return err
		}
		if len(c.r.Damages) == 0 && len(c.r.Blobs) == 0 {
			break
		}
		if gone, err := c.in.Gone(ctx); err != nil {
			return err
		} else if !gone {
			break
		}
	}
	if c.o.Mark {
		c.mark(ctx)
	}
	return nil
}

func (c *checker) round(ctx context.Context) error {
	// Backups are listed before the index is loaded, so that all they need is in it.
	ids, err := c.v.Manifests(ctx)
	if err != nil {
		return err
	}
	if c.in, err = c.v.Inspect(ctx); err != nil {
		return err
	}
	// What was read stays read; the rest is looked at anew.
	c.r = Report{BytesRead: c.r.BytesRead, PacksRead: c.r.PacksRead, Segments: c.in.Segments, Known: c.in.Damaged(), Blobs: []Blob{}}
	for name, err := range c.in.DamagedSegments {
		c.r.Blobs = append(c.r.Blobs, Blob{name, err.Error()})
	}
	for _, name := range c.in.CutPacks() {
		c.torn[name] = "the pack is not as long as the index says"
	}
	for _, name := range c.r.Known {
		if _, ok := c.torn[name]; !ok {
			c.torn[name] = ""
		}
	}
	if err := c.readPacks(ctx); err != nil {
		return err
	}
	s := &Survey{ChunkSize: c.v.Params().ChunkSize, Nodes: c.in, Chunk: c.chunk, Lost: c.lostNode, Damages: []Damage{}}
	for _, id := range ids {
		if err := c.backup(ctx, s, id); err != nil {
			return err
		}
	}
	if err := c.expected(ctx, s); err != nil {
		return err
	}
	c.r.Damages, c.r.More = s.Damages, s.More
	c.gather()
	return nil
}

func (c *checker) backup(ctx context.Context, s *Survey, id string) error {
	m, err := c.v.Manifest(ctx, id)
	switch {
	case errors.Is(err, vault.ErrNoBackup):
		return nil // deleted meanwhile
	case vault.Damage(err):
		c.r.Backups++
		s.damage(Damage{Backup: id, Reason: err.Error()})
		return nil
	case err != nil:
		return err
	}
	c.r.Backups++
	for _, im := range m.Images {
		c.r.Images++
		c.r.Chunks += im.Chunks
		if err := s.Image(ctx, id, im); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) expected(ctx context.Context, s *Survey) error {
	for _, id := range c.o.Expect {
		lost, err := c.v.Lost(ctx, id)
		if err != nil {
			return err
		}
		if lost {
			s.damage(Damage{Backup: id, Reason: "its manifest is missing"})
		}
	}
	return nil
}

// chunk says why no place of a chunk serves, if none does.
func (c *checker) chunk(ctx context.Context, at Place, id chunk.ID) error {
	err := vault.ErrMissing
	c.in.Places(chunk.Data, id, func(name string, e pack.Entry) bool {
		_, torn := c.torn[name]
		switch berr := c.bad[badChunk{name, id}]; {
		case berr != nil:
			err = berr
		case int64(e.Plain) != at.Length:
			err = vault.ErrContent
		case torn:
			err = c.in.VerifyChunk(ctx, name, e)
			if vault.Damage(err) {
				c.bad[badChunk{name, id}] = err
			}
		default:
			err = nil
		}
		return err != nil
	})
	return err
}

// lostNode names the packs in which a node cannot be read.
func (c *checker) lostNode(ctx context.Context, id chunk.ID) (err error) {
	c.in.Places(chunk.Node, id, func(name string, e pack.Entry) bool {
		if verr := c.in.VerifyChunk(ctx, name, e); vault.Damage(verr) {
			c.bad[badChunk{name, id}] = verr
		} else {
			err = verr
		}
		return err == nil
	})
	return err
}
