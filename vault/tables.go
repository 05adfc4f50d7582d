package vault

import (
	"slices"
	"sync"

	"holdfast/vault/chunk"
	"holdfast/vault/index"
)

// Tables of contents that were read last are kept, up to so many chunks.
const tableChunks = 1 << 16

// tables are the tables of contents of a few packs, the last used first. The zero
// value is empty and ready. It is safe for concurrent use.
type tables struct {
	mu     sync.Mutex
	parts  []*index.Part
	chunks int
}

func (t *tables) find(kind chunk.Kind, id chunk.ID) (index.Place, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, p := range t.parts {
		for info, e := range p.All(id) {
			if e.Kind == kind {
				copy(t.parts[1:], t.parts[:i])
				t.parts[0] = p
				return index.Place{Pack: info, Entry: e}, true
			}
		}
	}
	return index.Place{}, false
}

// add keeps the table of one pack.
func (t *tables) add(p *index.Part) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.ContainsFunc(t.parts, func(o *index.Part) bool { return o.Packs[0] == p.Packs[0] }) {
		return // another reader was faster
	}
	t.parts = slices.Insert(t.parts, 0, p)
	for t.chunks += len(p.Entries); t.chunks > tableChunks; {
		last := len(t.parts) - 1
		t.chunks -= len(t.parts[last].Entries)
		t.parts[last] = nil
		t.parts = t.parts[:last]
	}
}
