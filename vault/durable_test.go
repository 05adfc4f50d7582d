package vault

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"holdfast/vault/blob"
	"holdfast/vault/blob/mem"
	"holdfast/vault/keys"
)

// counting counts the bytes of the data packs that are stored.
type counting struct {
	blob.Storage

	mu     sync.Mutex
	stored int64
}

func (c *counting) PutNew(ctx context.Context, name string, data []byte) error {
	err := c.Storage.PutNew(ctx, name, data)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.stored += int64(len(data))
	}
	return err
}

// TestDurableRanges: a range is reported only when its pack is stored, and all
// are in the end; those of a vault that has them already are, too.
func TestDurableRanges(t *testing.T) {
	const cs, n = 64 << 10, 40
	st := &counting{Storage: mem.New()}
	ring, account := keys.NewRing(), keys.NewAccountKey()
	v, err := Init(t.Context(), st, Config{
		Account: "acc-1", Ring: ring, WrappedRing: account.WrapRing("acc-1", ring), ChunkSize: cs, PackSize: 8 * cs,
	})
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, n*cs)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(data)
	clear(data[3*cs : 5*cs])
	for round, session := range []string{"a", "b"} {
		var mu sync.Mutex
		told := map[int64]int64{}
		var most int64 // reported beyond what was stored
		st.stored = 0
		err := v.Write(t.Context(), session, func(ctx context.Context, s *Session) error {
			_, err := s.WriteImage(ctx, ImageInput{
				Name: "d", Size: int64(len(data)), Read: bytes.NewReader(data),
				Ranges: func(yield func(Range, error) bool) { yield(Range{Length: int64(len(data))}, nil) },
				Durable: func(offset, length int64) {
					mu.Lock()
					defer mu.Unlock()
					told[offset] = length
					if bytes.Count(data[offset:offset+length], []byte{0}) < int(length) {
						most += length
					}
					st.mu.Lock()
					defer st.mu.Unlock()
					if round == 0 && most > st.stored {
						t.Errorf("%d bytes are said to be durable of %d stored", most, st.stored)
					}
				},
			})
			return err // the session is not committed: its last pack is sealed behind fn
		})
		if err != nil {
			t.Fatal(err)
		}
		for off := int64(0); off < int64(len(data)); off += cs {
			if told[off] != cs {
				t.Errorf("round %d: of chunk %d nothing was said", round, off/cs)
			}
		}
	}
}
