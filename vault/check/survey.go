package check

import (
	"context"

	"holdfast/vault"
	"holdfast/vault/chunk"
	"holdfast/vault/tree"
)

// The damages listed for one vault; more are only counted.
const maxDamages = 10_000

// Damaged subtrees that backups share are walked again for each, since where they
// lie differs, but so many nodes of them in all: a few nodes can be made to stand
// for 2⁴⁰ chunks. Later ones are lost as a whole.
const maxAgain = 1 << 13

// Damage is an extent of a backup that cannot be read. Without an image it is the
// whole backup.
type Damage struct {
	Backup string `json:"backup"`
	Image  string `json:"image,omitempty"`
	Offset int64  `json:"offset"` // bytes
	Length int64  `json:"length"` // bytes
	Reason string `json:"reason"`
}

// Nodes gives the nodes of trees by their ids, proved.
type Nodes interface {
	LoadNode(ctx context.Context, id chunk.ID) ([]byte, error)
}

// Survey walks the trees of backups and collects what is lost of them. Subtrees
// that several share and that are whole are walked once. It is not safe for
// concurrent use.
type Survey struct {
	ChunkSize int
	Nodes     Nodes
	// Chunk says why a chunk is lost. An error that is no damage ends the survey.
	Chunk func(ctx context.Context, at Place, id chunk.ID) error
	// Enter, if set, is told of each node that will be loaded.
	Enter func(at Node)
	// Lost, if set, is told of each node that cannot be read.
	Lost func(ctx context.Context, id chunk.ID) error

	Damages []Damage
	More    int // not listed

	clean map[visit]bool // subtrees found whole
	torn  map[visit]error
	again int   // nodes of torn subtrees that were entered once more
	last  error // of the last damage
	stack []int // damages counted when the open nodes were entered
}

// Place is where a chunk belongs.
type Place struct {
	Image  vault.Image
	Number uint64
	Length int64 // bytes of its plaintext
}

// Node is where a node belongs: its level, and the number of its first chunk.
type Node struct {
	Image vault.Image
	Level int
	First uint64
}

type visit struct {
	id     chunk.ID
	chunks uint64
}

// Image walks one image.
func (s *Survey) Image(ctx context.Context, backup string, im vault.Image) error {
	cs := int64(s.ChunkSize)
	root := tree.Root{ID: im.Root, Chunks: uint64((im.Size + cs - 1) / cs)} //nolint:gosec // positive
	count, err := tree.Count(ctx, s.Nodes, root, 0)
	if err == nil && count != im.Chunks {
		s.damage(Damage{Backup: backup, Image: im.Name, Length: im.Size, Reason: "the manifest counts other chunks than the tree"})
	} else if err != nil && !vault.Damage(err) {
		return err
	}
	if s.clean == nil {
		s.clean, s.torn = map[visit]bool{}, map[visit]error{}
	}
	s.stack = s.stack[:0]
	var last chunk.ID
	return tree.Walk(ctx, s.Nodes, root, 0, tree.Visitor{
		Node: func(id chunk.ID, from, to uint64) error {
			if s.clean[visit{id, to - from}] {
				return tree.ErrSkip
			}
			if err := s.torn[visit{id, to - from}]; err != nil {
				if s.again++; s.again > maxAgain {
					s.blame(backup, im, from, to, err)
					return tree.ErrSkip
				}
			}
			last = id
			if s.Enter != nil {
				s.Enter(Node{im, tree.Top(root.Chunks) - len(s.stack), from})
			}
			s.stack = append(s.stack, s.count())
			return nil
		},
		Left: func(id chunk.ID, from, to uint64) {
			top := len(s.stack) - 1
			if s.stack[top] == s.count() {
				s.clean[visit{id, to - from}] = true
			} else {
				s.torn[visit{id, to - from}] = s.last
			}
			s.stack = s.stack[:top]
		},
		Lost: func(from, to uint64, err error) error {
			if !vault.Damage(err) {
				return err
			}
			s.blame(backup, im, from, to, err)
			if s.Lost == nil {
				return nil
			}
			return s.Lost(ctx, last)
		},
		Chunk: func(i uint64, id chunk.ID) error {
			at := Place{im, i, min(cs, im.Size-int64(i)*cs)} //nolint:gosec // below the image's size
			err := s.Chunk(ctx, at, id)
			if vault.Damage(err) {
				s.blame(backup, im, i, i+1, err)
				return nil
			}
			return err
		},
	})
}

func (s *Survey) blame(backup string, im vault.Image, from, to uint64, err error) {
	cs := int64(s.ChunkSize)
	s.last = err
	off := int64(from) * cs           //nolint:gosec // below the image's size
	end := min(int64(to)*cs, im.Size) //nolint:gosec // below the image's size
	s.damage(Damage{backup, im.Name, off, end - off, err.Error()})
}

func (s *Survey) count() int { return len(s.Damages) + s.More }

// damage adds to the list, joining what lies side by side for the same reason.
func (s *Survey) damage(d Damage) {
	if n := len(s.Damages); n > 0 {
		last := &s.Damages[n-1]
		if last.Backup == d.Backup && last.Image == d.Image && last.Offset+last.Length == d.Offset && last.Reason == d.Reason {
			last.Length += d.Length
			s.joined()
			return
		}
		if n >= maxDamages {
			s.More++
			return
		}
	}
	s.Damages = append(s.Damages, d)
}

// joined keeps the open nodes from passing for clean: the number of damages did
// not change, but there is more of one.
func (s *Survey) joined() {
	for i := range s.stack {
		s.stack[i] = -1
	}
}
