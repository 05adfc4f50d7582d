// Package check proves what a vault promises: that every backup is whole, by its structure or by every byte.
package check

import (
	"context"
	"fmt"

	"holdfast/vault"
	"holdfast/vault/chunk"
	"holdfast/vault/pack"
	"holdfast/vault/tree"
)

// The damages listed for one vault; more are only counted.
const maxDamages = 10_000

// Options say how much is proved. Structure is always: every manifest, every
// tree, the place of every chunk.
type Options struct {
	// ReadData reads and proves every stored byte.
	ReadData bool
	// Sample, between 0 and 1, reads that share of the packs instead, by chance.
	Sample float64
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
	Segments  int      `json:"indexSegments"`
	BytesRead int64    `json:"bytesRead"`
	Damages   []Damage `json:"damages"`
	More      int      `json:"moreDamages,omitempty"` // not listed
	// Blobs are the damaged packs and index segments themselves. A damaged segment
	// is made up for by the packs' own tables, and a chunk may have a second place
	// or be garbage, so this alone need not harm a backup.
	Blobs []Blob `json:"damagedBlobs"`
}

// Damage is an extent of a backup that cannot be read. Without an image it is the
// whole backup.
type Damage struct {
	Backup string `json:"backup"`
	Image  string `json:"image,omitempty"`
	Offset int64  `json:"offset"` // bytes
	Length int64  `json:"length"` // bytes
	Reason string `json:"reason"`
}

// Blob is a damaged blob.
type Blob struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Run checks a vault. Damage is in the report; an error means that the check
// itself could not be done.
func Run(ctx context.Context, v *vault.Vault, o Options) (Report, error) {
	c := &checker{v: v, o: o, clean: map[visit]bool{}, bad: map[badChunk]error{}, torn: map[string]bool{}}
	c.r.Damages, c.r.Blobs = []Damage{}, []Blob{}
	if err := c.run(ctx); err != nil {
		return Report{}, fmt.Errorf("check vault: %w", err)
	}
	c.r.OK = len(c.r.Damages) == 0 && len(c.r.Blobs) == 0
	return c.r, nil
}

type checker struct {
	v     *vault.Vault
	o     Options
	in    *vault.Inspection
	r     Report
	clean map[visit]bool // subtrees found whole, so that shared ones are walked once
	bad   map[badChunk]error
	torn  map[string]bool // packs that are cut short, or whose tables of contents are damaged
	stack []int           // damages counted when the open nodes were entered
}

type visit struct {
	id     chunk.ID
	chunks uint64
}

type badChunk struct {
	pack string
	id   chunk.ID
}

func (c *checker) run(ctx context.Context) error {
	// Backups are listed before the index is loaded, so that all they need is in it.
	ids, err := c.v.Manifests(ctx)
	if err != nil {
		return err
	}
	if c.in, err = c.v.Inspect(ctx); err != nil {
		return err
	}
	c.r.Segments = c.in.Segments
	for name, err := range c.in.DamagedSegments {
		c.r.Blobs = append(c.r.Blobs, Blob{name, err.Error()})
	}
	for _, name := range c.in.CutPacks() {
		c.r.Blobs = append(c.r.Blobs, Blob{name, "the pack is not as long as the index says"})
		c.torn[name] = true
	}
	if err := c.readPacks(ctx); err != nil {
		return err
	}
	for _, id := range ids {
		if err := c.backup(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) backup(ctx context.Context, id string) error {
	m, err := c.v.Manifest(ctx, id)
	switch {
	case isDeleted(err):
		return nil // meanwhile
	case vault.Damage(err):
		c.r.Backups++
		c.damage(Damage{Backup: id, Reason: err.Error()})
		return nil
	case err != nil:
		return err
	}
	c.r.Backups++
	for _, im := range m.Images {
		c.r.Images++
		if err := c.image(ctx, id, im); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) image(ctx context.Context, id string, im vault.Image) error {
	c.r.Chunks += im.Chunks
	cs := int64(c.v.Params().ChunkSize)
	blame := func(from, to uint64, err error) {
		off := int64(from) * cs           //nolint:gosec // below the image's size
		end := min(int64(to)*cs, im.Size) //nolint:gosec // below the image's size
		c.damage(Damage{id, im.Name, off, end - off, err.Error()})
	}
	count, err := c.in.Count(ctx, im)
	if err == nil && count != im.Chunks {
		c.damage(Damage{Backup: id, Image: im.Name, Length: im.Size, Reason: "the manifest counts other chunks than the tree"})
	} else if err != nil && !vault.Damage(err) {
		return err
	}
	c.stack = c.stack[:0]
	return c.in.Walk(ctx, im, tree.Visitor{
		Node: func(id chunk.ID, from, to uint64) error {
			if c.clean[visit{id, to - from}] {
				return tree.ErrSkip
			}
			c.stack = append(c.stack, c.count())
			return nil
		},
		Left: func(id chunk.ID, from, to uint64) {
			last := len(c.stack) - 1
			if c.stack[last] == c.count() {
				c.clean[visit{id, to - from}] = true
			}
			c.stack = c.stack[:last]
		},
		Lost: func(from, to uint64, err error) error {
			if !vault.Damage(err) {
				return err
			}
			blame(from, to, err)
			return nil
		},
		Chunk: func(i uint64, id chunk.ID) error {
			want := min(cs, im.Size-int64(i)*cs) //nolint:gosec // below the image's size
			if err := c.chunk(ctx, id, want); vault.Damage(err) {
				blame(i, i+1, err)
			} else if err != nil {
				return err
			}
			return nil
		},
	})
}

// chunk says why no place of a chunk serves, if none does.
func (c *checker) chunk(ctx context.Context, id chunk.ID, want int64) error {
	err := vault.ErrMissing
	c.in.Places(chunk.Data, id, func(name string, e pack.Entry) bool {
		switch berr := c.bad[badChunk{name, id}]; {
		case berr != nil:
			err = berr
		case c.torn[name]:
			err = c.in.VerifyChunk(ctx, name, e)
		case int64(e.Plain) != want:
			err = vault.ErrContent
		default:
			err = nil
		}
		return err != nil
	})
	return err
}

func (c *checker) count() int { return len(c.r.Damages) + c.r.More }

// damage adds to the report, joining what lies side by side for the same reason.
func (c *checker) damage(d Damage) {
	if n := len(c.r.Damages); n > 0 {
		last := &c.r.Damages[n-1]
		if last.Backup == d.Backup && last.Image == d.Image && last.Offset+last.Length == d.Offset && last.Reason == d.Reason {
			last.Length += d.Length
			c.joined()
			return
		}
		if n >= maxDamages {
			c.r.More++
			return
		}
	}
	c.r.Damages = append(c.r.Damages, d)
}

// joined keeps the open nodes from passing for clean: the number of damages did
// not change, but there is more of one.
func (c *checker) joined() {
	for i := range c.stack {
		c.stack[i] = -1
	}
}
