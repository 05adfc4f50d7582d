package vault

import (
	"context"
	"fmt"
	"sync"

	"holdfast/vault/chunk"
	"holdfast/vault/index"
	"holdfast/vault/pack"
)

// packer fills packs of one class and uploads them behind the writers' backs.
// All writers fill the same pack, so chunks lie nearly in the disk's order and no
// more than one pack waits unfinished.
type packer struct {
	s     *Session
	class pack.Class
	size  int
	free  chan []byte // buffers; nil ones are not made yet

	safe safety

	mu  sync.Mutex
	cur *pack.Builder
	nth uint64 // of cur, 1 for the first
}

func newPacker(s *Session, class pack.Class, size, buffers int) *packer {
	p := &packer{s: s, class: class, size: size, free: make(chan []byte, buffers)}
	for range buffers {
		p.free <- nil
	}
	return p
}

// add stores a payload, which is not kept after the call. It waits while all
// buffers are being uploaded.
func (p *packer) add(kind chunk.Kind, id chunk.ID, codec chunk.Codec, payload []byte, plain int) error {
	_, err := p.put(kind, id, codec, payload, plain)
	return err
}

// put is add, and says in which pack the payload is, by its number.
func (p *packer) put(kind chunk.Kind, id chunk.ID, codec chunk.Codec, payload []byte, plain int) (nth uint64, err error) {
	slot, nth, err := p.reserve(kind, id, codec, len(payload), plain)
	if err != nil {
		return 0, err
	}
	slot.Put(payload)
	return nth, nil
}

func (p *packer) reserve(kind chunk.Kind, id chunk.ID, codec chunk.Codec, payload, plain int) (pack.Slot, uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cur != nil && !p.cur.Room(payload) {
		p.sealLocked()
	}
	if p.cur == nil {
		if err := p.begin(); err != nil {
			return pack.Slot{}, 0, err
		}
	}
	return p.cur.Reserve(kind, id, codec, payload, plain), p.nth, nil
}

func (p *packer) begin() error {
	var buf []byte
	select {
	case <-p.s.ctx.Done():
		return context.Cause(p.s.ctx)
	case buf = <-p.free:
	}
	if buf == nil {
		buf = make([]byte, 0, p.size)
	}
	info := pack.NewInfo(p.s.id, p.class, p.s.v.ring.Current())
	b, err := pack.NewBuilder(p.s.v.ring, info, buf)
	if err != nil {
		p.free <- buf
		return err
	}
	p.cur = b
	p.nth++
	return nil
}

// seal sends the current pack, if any, on its way.
func (p *packer) seal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sealLocked()
}

func (p *packer) sealLocked() {
	if p.cur == nil {
		return
	}
	b, nth := p.cur, p.nth
	p.cur = nil
	p.s.uploads.Go(func() {
		buf, err := p.upload(b)
		if err != nil {
			p.s.fail(err)
		} else {
			p.safe.reached(nth)
		}
		p.free <- buf
	})
}

func (p *packer) upload(b *pack.Builder) ([]byte, error) {
	info, entries, data := b.Finish()
	if err := p.s.v.st.PutNew(p.s.ctx, info.Name(), data); err != nil {
		return data, fmt.Errorf("put pack: %w", err)
	}
	p.s.uploaded.Add(int64(len(data)))
	return data, p.s.durable(index.Contents{Info: info, Entries: entries})
}
