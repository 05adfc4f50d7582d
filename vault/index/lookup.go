package index

import (
	"context"
	"encoding/binary"
	"fmt"
	"sort"

	"holdfast/vault/chunk"
	"holdfast/vault/pack"
)

// Place is where a chunk lies.
type Place struct {
	Pack  pack.Info
	Entry pack.Entry
	// Far says that the place was read from the storage and not on this machine.
	Far bool
}

// No segment needs to name more places of one chunk; more are not looked at.
const maxPlaces = 64

// places finds a chunk in the blocks that may hold it: nearly always one.
func (s *Segment) places(ctx context.Context, id *chunk.ID) ([]Place, error) {
	top := binary.BigEndian.Uint64(id[:])
	// The block before the first that begins with these bytes may end with them.
	b := max(0, sort.Search(len(s.dir), func(i int) bool { return s.dir[i] >= top })-1)
	var found []Place
	for ; b < len(s.dir) && s.dir[b] <= top && len(found) < maxPlaces; b++ {
		data, err := s.entries(ctx, b)
		if err != nil {
			return nil, err
		}
		if found, err = s.match(ctx, data, id, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// match appends the places of a chunk within one block.
func (s *Segment) match(ctx context.Context, data []byte, id *chunk.ID, found []Place) ([]Place, error) {
	n := len(data) / entrySize
	at := func(i int) chunk.ID { return chunk.ID(data[i*entrySize:][:len(id)]) }
	for i := sort.Search(n, func(i int) bool { return at(i).Compare(*id) >= 0 }); i < n && at(i) == *id && len(found) < maxPlaces; i++ {
		e := decodeEntry(data[i*entrySize:])
		infos, err := s.packs(ctx, int(e.Pack/perBlock))
		if err != nil {
			return nil, err
		}
		info := infos[e.Pack%perBlock]
		if int64(e.Offset)+int64(e.Sealed) > int64(info.Size) {
			return nil, fmt.Errorf("%w: an entry leaves its pack", ErrMalformed)
		}
		found = append(found, Place{info, e.Unpack(), s.copy.Load() == nil})
	}
	return found, nil
}
