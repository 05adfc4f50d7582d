package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"holdfast/disk/file"
	"holdfast/vault"
	"holdfast/vault/chunk"
	"holdfast/vault/keys"
	"holdfast/vault/seal"
)

// bare is the work that no engine can save: each chunk of the disk that is not
// zeros is named, and compressed and sealed if it is the first of its content;
// nothing is stored. It uses the vault's own primitives, in one process with two
// goroutines.
type bare struct {
	src  *file.Source
	ring keys.Ring
	box  *seal.Box
	size int

	mu    sync.Mutex
	known map[chunk.ID]bool
	kept  []sealedChunk // nil unless they are to be opened again
	keep  bool
}

// sealedChunk is one in memory.
type sealedChunk struct {
	frame seal.Frame
	codec chunk.Codec
	data  []byte
}

func newBare(image string, keep bool) (*bare, error) {
	src, err := file.Open(image)
	if err != nil {
		return nil, err
	}
	ring := keys.NewRing()
	box, err := seal.NewBox(ring, seal.NewHeader(seal.Pack, ring.Current()))
	if err != nil {
		return nil, errors.Join(err, src.Close())
	}
	return &bare{src: src, ring: ring, box: box, size: number("BENCH_CHUNK", vault.DefaultChunkSize), known: map[chunk.ID]bool{}, keep: keep}, nil
}

// write is the bare full backup.
func (b *bare) write(ctx context.Context) error {
	places := make(chan int64)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(places)
		return b.plan(ctx, places)
	})
	for range 2 {
		g.Go(func() error { return b.writeAll(places) })
	}
	return errors.Join(g.Wait(), b.src.Close())
}

// plan sends the chunks that data touches.
func (b *bare) plan(ctx context.Context, places chan<- int64) error {
	next, size := int64(0), int64(b.size)
	for e, err := range b.src.Extents(ctx) {
		if err != nil {
			return err
		}
		if e.Zero {
			continue
		}
		for next = max(next, e.Offset/size*size); next < e.End(); next += size {
			select {
			case places <- next:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

func (b *bare) writeAll(places <-chan int64) error {
	enc, err := chunk.NewEncoder(b.size)
	if err != nil {
		return err
	}
	hash, buf, out := chunk.NewHasher(b.ring), make([]byte, b.size), []byte(nil)
	for off := range places {
		p := buf[:min(int64(b.size), b.src.Size()-off)]
		if _, err := b.src.ReadAt(p, off); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if chunk.IsZeros(p) {
			continue
		}
		id := hash.Sum(chunk.Data, p)
		ordinal, first := b.claim(id)
		if !first {
			continue
		}
		codec, payload := enc.Encode(p)
		f := seal.Frame{Ordinal: ordinal, ID: id, Plain: uint32(len(p)), Codec: byte(codec)} //nolint:gosec // small
		out = b.box.Seal(out[:0], payload, f)
		if b.keep {
			b.add(sealedChunk{f, codec, append([]byte(nil), out...)})
		}
	}
	return nil
}

func (b *bare) claim(id chunk.ID) (ordinal uint64, first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	first = !b.known[id]
	b.known[id] = true
	return uint64(len(b.known)), first
}

func (b *bare) add(c sealedChunk) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept = append(b.kept, c)
}

// verify is the bare proof of every byte: each chunk is opened, decoded and its
// id computed. It returns the bytes opened.
func (b *bare) verify() (int64, error) {
	var g errgroup.Group
	half := len(b.kept) / 2
	for _, part := range [][]sealedChunk{b.kept[:half], b.kept[half:]} {
		g.Go(func() error { return b.verifyAll(part) })
	}
	n := int64(0)
	for _, c := range b.kept {
		n += int64(len(c.data))
	}
	return n, g.Wait()
}

func (b *bare) verifyAll(part []sealedChunk) error {
	dec, err := chunk.NewDecoder(b.size)
	if err != nil {
		return err
	}
	hash, buf, plain := chunk.NewHasher(b.ring), []byte(nil), make([]byte, b.size+chunk.Slack)
	for _, c := range part {
		if buf, err = b.box.Open(buf[:0], c.data, c.frame); err != nil {
			return err
		}
		p, err := dec.Decode(plain, c.codec, buf, int(c.frame.Plain))
		if err != nil {
			return err
		}
		if hash.Sum(chunk.Data, p) != chunk.ID(c.frame.ID) {
			return fmt.Errorf("chunk %d has another content", c.frame.Ordinal)
		}
	}
	return nil
}
