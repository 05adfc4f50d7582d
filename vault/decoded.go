package vault

import (
	"context"
	"errors"
	"sync"

	"holdfast/vault/chunk"
	"holdfast/vault/lru"
)

// So many decoded bytes are kept for small reads near each other.
const decodedBytes = 16 << 20

// decodedChunks keeps the decoded chunks that were read last. Readers that want
// the same chunk at once decode it once.
type decodedChunks struct {
	cache *lru.Cache[chunk.ID, []byte]

	mu      sync.Mutex
	flights map[chunk.ID]*flight
}

type flight struct {
	done  chan struct{}
	plain []byte
	err   error
}

func newDecodedChunks(bytes int64) decodedChunks {
	return decodedChunks{cache: lru.New[chunk.ID, []byte](bytes), flights: map[chunk.ID]*flight{}}
}

// get returns a chunk, which nobody may change, by load if need be.
func (d *decodedChunks) get(ctx context.Context, id chunk.ID, load func() ([]byte, error)) ([]byte, error) {
	for {
		if plain, ok := d.cache.Get(id); ok {
			return plain, nil
		}
		d.mu.Lock()
		f, flying := d.flights[id]
		if !flying {
			f = &flight{done: make(chan struct{})}
			d.flights[id] = f
		}
		d.mu.Unlock()
		if !flying {
			return d.lead(id, f, load)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		// Another reader's end is no reason for this one's.
		if !errors.Is(f.err, context.Canceled) && !errors.Is(f.err, context.DeadlineExceeded) {
			return f.plain, f.err
		}
	}
}

func (d *decodedChunks) lead(id chunk.ID, f *flight, load func() ([]byte, error)) ([]byte, error) {
	defer close(f.done)
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.flights, id)
	}()
	f.err = errors.New("the reader of this chunk died") // unless load returns
	f.plain, f.err = load()
	if f.err == nil {
		d.cache.Put(id, f.plain, int64(cap(f.plain)))
	}
	return f.plain, f.err
}
