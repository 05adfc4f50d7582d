package vault

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"

	"holdfast/vault/blob"
	"holdfast/vault/chunk"
	"holdfast/vault/index"
	"holdfast/vault/pack"
	"holdfast/vault/tree"
)

// Inspection is a look at a vault as it is stored, for checking and maintenance.
// It is safe for concurrent use.
type Inspection struct {
	// Segments is the number of index segments, DamagedSegments those of them that
	// cannot be read, by name.
	Segments        int
	DamagedSegments map[string]error

	v        *Vault
	segments map[string]segmentUse
	parts    []*index.Part // what the index says, whole, the newest last
	packs    map[string]int64
	loose    map[string]bool // packs that no readable segment covers
	// damaged packs were found so before: MarkDamaged.
	damaged map[string]bool
	buffers sync.Pool // of *[]byte, to read packs into
}

// segmentUse says how many entries a segment has in which packs.
type segmentUse struct {
	entries int
	packs   []packUse
}

type packUse struct {
	name    string
	entries int
}

// The parts of more segments are merged, so that a lookup stays a few searches.
const maxParts = 12

// Inspect reads the whole index anew from the storage, and lists the packs. It
// takes 52 bytes of memory for each chunk the index knows.
func (v *Vault) Inspect(ctx context.Context) (*Inspection, error) {
	return v.inspect(ctx, (*index.Segment).Part)
}

// inspect is Inspect with the segments read as a collection may: from copies on
// this machine, which are proved as the stored ones are.
func (v *Vault) inspect(ctx context.Context, read func(*index.Segment, context.Context) (*index.Part, error)) (*Inspection, error) {
	in := &Inspection{v: v, segments: map[string]segmentUse{}, packs: map[string]int64{}, loose: map[string]bool{}}
	for i, gone := 0, true; gone && i < maxListings; i++ {
		var err error
		if in.DamagedSegments, err = v.refreshed(ctx); err != nil {
			return nil, fmt.Errorf("inspect vault: %w", err)
		}
		if gone, err = in.load(ctx, read); err != nil {
			return nil, fmt.Errorf("inspect vault: %w", err)
		}
	}
	for info, err := range v.st.List(ctx, pack.Prefix) {
		if err != nil {
			return nil, fmt.Errorf("inspect vault: %w", err)
		}
		in.packs[info.Name] = info.Size
	}
	known := index.NewSet()
	for _, p := range in.parts {
		known = known.With(p)
	}
	contents, _, err := v.uncovered(ctx, pack.Prefix, known)
	if err != nil {
		return nil, fmt.Errorf("inspect vault: %w", err)
	}
	if in.damaged, err = v.distrusted(ctx); err != nil {
		return nil, fmt.Errorf("inspect vault: %w", err)
	}
	for _, c := range contents {
		in.loose[c.Info.Name()] = true
	}
	in.parts = append(in.parts, index.NewPart(contents))
	return in, nil
}

// load reads every segment whole; gone says that one was merged away meanwhile.
func (in *Inspection) load(ctx context.Context, read func(*index.Segment, context.Context) (*index.Part, error)) (gone bool, err error) {
	in.v.mu.Lock()
	segments := maps.Clone(in.v.segments)
	rescued := in.v.rescued
	in.v.mu.Unlock()
	in.parts = nil
	clear(in.segments)
	total := 0
	for _, s := range segments {
		total += s.Len()
	}
	var joined *index.Joiner
	if len(segments) > maxParts {
		joined = index.NewJoiner(total)
	}
	for _, name := range slices.Sorted(maps.Keys(segments)) {
		part, err := read(segments[name], ctx)
		switch {
		case errors.Is(err, blob.ErrNotFound):
			return true, nil
		case err != nil && damage(err):
			in.DamagedSegments[name] = err
			continue
		case err != nil:
			return false, err
		}
		in.segments[name] = useOf(part)
		if joined != nil {
			joined.Add(part)
		} else {
			in.parts = append(in.parts, part)
		}
	}
	if joined != nil {
		in.parts = append(in.parts, joined.Part())
	}
	if rescued != nil {
		in.parts = slices.Insert(in.parts, 0, rescued)
	}
	in.Segments = len(in.segments) + len(in.DamagedSegments)
	return false, nil
}

func useOf(part *index.Part) segmentUse {
	use := segmentUse{len(part.Entries), make([]packUse, len(part.Packs))}
	for i, info := range part.Packs {
		use.packs[i].name = info.Name()
	}
	for i := range part.Entries {
		use.packs[part.Entries[i].Pack].entries++
	}
	return use
}

// all yields every place of a chunk, the newest part's first.
func (in *Inspection) all(id chunk.ID) iter.Seq2[pack.Info, pack.Entry] {
	return func(yield func(pack.Info, pack.Entry) bool) {
		for _, part := range slices.Backward(in.parts) {
			for info, e := range part.All(id) {
				if !yield(info, e) {
					return
				}
			}
		}
	}
}

// Packs are the names of the stored packs, ascending.
func (in *Inspection) Packs() []string { return slices.Sorted(maps.Keys(in.packs)) }

// PackSize is a stored pack's size in bytes.
func (in *Inspection) PackSize(name string) int64 { return in.packs[name] }

// CutPacks are the stored packs, ascending, that are not as long as the index says.
func (in *Inspection) CutPacks() []string {
	cut := map[string]bool{}
	for _, part := range in.parts {
		for _, info := range part.Packs {
			if size, ok := in.packs[info.Name()]; ok && size != int64(info.Size) {
				cut[info.Name()] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(cut))
}

// Places yields the places of a chunk that the stored packs are long enough to
// hold, with the names of these packs.
func (in *Inspection) Places(kind chunk.Kind, id chunk.ID, yield func(name string, e pack.Entry) bool) {
	for info, e := range in.all(id) {
		name := info.Name()
		if e.Kind == kind && in.packs[name] >= int64(e.Offset)+int64(e.Sealed) && !yield(name, e) {
			return
		}
	}
}

// Walk visits an image's tree. Nodes are read from the storage, and proved.
func (in *Inspection) Walk(ctx context.Context, im Image, v tree.Visitor) error {
	root := tree.Root{ID: im.Root, Chunks: chunks(im.Size, int64(in.v.params.ChunkSize))}
	return tree.Walk(ctx, nodeReader{in.v}, root, 0, v)
}

// Count is the number of stored chunks that an image's root claims.
func (in *Inspection) Count(ctx context.Context, im Image) (uint64, error) {
	root := tree.Root{ID: im.Root, Chunks: chunks(im.Size, int64(in.v.params.ChunkSize))}
	return tree.Count(ctx, nodeReader{in.v}, root, 0)
}

// VerifyChunk reads one chunk from a place that Places yielded, and proves it.
func (in *Inspection) VerifyChunk(ctx context.Context, name string, e pack.Entry) error {
	s, err := in.v.borrow()
	if err != nil {
		return err
	}
	defer in.v.scratch.Put(s)
	for info, known := range in.all(e.ID) {
		if info.Name() == name && known == e {
			_, err := in.v.fetchAt(ctx, info, e, s)
			return err
		}
	}
	return ErrMissing
}

// VerifyPack reads a whole pack and proves every chunk in it. It returns the
// chunks that fail; a pack whose table of contents cannot be read is an error,
// as Damage tells.
func (in *Inspection) VerifyPack(ctx context.Context, name string) (chunks int, bad map[chunk.ID]error, err error) {
	v := in.v
	if in.packs[name] > pack.MaxSize {
		return 0, nil, fmt.Errorf("%s: %w", name, blob.ErrTooLarge)
	}
	buf, _ := in.buffers.Get().(*[]byte)
	if buf == nil || int64(cap(*buf)) < in.packs[name] {
		buf = new(make([]byte, max(in.packs[name], int64(v.params.PackSize))))
	}
	defer in.buffers.Put(buf)
	data := (*buf)[:in.packs[name]]
	if err := v.st.ReadAt(ctx, name, data, 0); err != nil {
		return 0, nil, err
	}
	info, entries, err := pack.ParseTOC(v.ring, name, data, v.maxPlain())
	if err != nil {
		return 0, nil, err
	}
	s, err := v.borrow()
	if err != nil {
		return 0, nil, err
	}
	defer v.scratch.Put(s)
	bad = map[chunk.ID]error{}
	for _, e := range entries {
		if ctx.Err() != nil {
			return 0, nil, ctx.Err()
		}
		if _, err := v.unseal(info, e, data[e.Offset:e.Offset+e.Sealed], s); err != nil {
			bad[e.ID] = err
		}
	}
	return len(entries), bad, nil
}

// Damage tells lost or changed bytes, which no retry brings back, from a storage
// that fails for now.
func Damage(err error) bool { return err != nil && damage(err) }
