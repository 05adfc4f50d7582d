package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"holdfast/compute"
	"holdfast/disk"
	"holdfast/disk/nbd"
)

// aside is the opening of a disk of a generation that is not in force. A disk's
// name is open once, of whatever generation. The caller has the lock.
func (d *Driver) aside(id, name, diskName string) (o opening, ready bool, err error) {
	dir, ready, err := d.generation(id, name)
	if err != nil {
		return o, false, err
	}
	now, err := d.inForce(id)
	if err != nil {
		return o, false, err
	}
	if dir == now {
		return o, ready, fmt.Errorf("qemu: generation %s of %s is in force: %w", name, id, compute.ErrState)
	}
	defined, err := d.defined(id)
	if err != nil {
		return o, ready, err
	}
	disks, err := d.disks(id, dir, defined.Disks)
	if err != nil {
		return o, ready, err
	}
	i := slices.IndexFunc(disks, func(dk compute.Disk) bool { return dk.Name == diskName })
	if i < 0 {
		return o, ready, fmt.Errorf("qemu: generation %s of %s has no disk %.20q: %w", name, id, diskName, compute.ErrNoGeneration)
	}
	o = d.asideOf(id, diskName)
	o.dir, o.size = dir, disks[i].SizeBytes
	o.layers, err = d.layers(id, dir)
	return o, ready, err
}

// asideOf has what is needed to end an opening.
func (*Driver) asideOf(id, diskName string) opening {
	return opening{id: id, disk: diskName, socket: "g" + diskName, record: "aside-" + diskName + recordSuffix}
}

// shutAsides ends whatever has disks of a generation open.
func (d *Driver) shutAsides(ctx context.Context, id string, disks []compute.Disk) error {
	var err error
	for _, dk := range disks {
		err = errors.Join(err, d.shut(ctx, d.asideOf(id, dk.Name)))
	}
	return err
}

// FillGeneration opens a disk of a generation for writing.
func (d *Driver) FillGeneration(ctx context.Context, id, name, diskName string) (disk.Sink, error) {
	_, unlock, err := d.enter(ctx, id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	o, ready, err := d.aside(id, name, diskName)
	if err != nil {
		return nil, err
	}
	if ready {
		return nil, fmt.Errorf("qemu: generation %s of %s is ready: %w", name, id, compute.ErrState)
	}
	return d.sink(ctx, o)
}

// OpenGeneration opens a disk of a generation for reading.
func (d *Driver) OpenGeneration(ctx context.Context, id, name, diskName string) (disk.Source, error) {
	_, unlock, err := d.enter(ctx, id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	o, _, err := d.aside(id, name, diskName)
	if err != nil {
		return nil, err
	}
	o.readOnly = true
	proc, err := d.open(ctx, o)
	if err != nil {
		return nil, err
	}
	r := &asideReader{d: d, opening: o, proc: proc}
	if r.conns, err = d.dialOpening(ctx, o, proc, nbd.BaseAllocation); err != nil {
		return nil, errors.Join(err, d.shut(ctx, o))
	}
	return r, nil
}

// asideReader reads one disk that nobody writes to.
type asideReader struct {
	opening
	d     *Driver
	proc  process
	conns []*nbd.Conn
	next  atomic.Uint32
	once  sync.Once
	err   error
}

// Size of the disk in bytes.
func (r *asideReader) Size() int64 { return r.size }

// ReadAt reads the disk.
func (r *asideReader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= r.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > r.size-off
	if short {
		p = p[:r.size-off]
	}
	n, err := r.conns[int(r.next.Add(1))%len(r.conns)].ReadAt(p, off)
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

// Extents tells the zeros from the data, by the disk's allocation.
func (r *asideReader) Extents(ctx context.Context) iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) {
		m := merger{yield: yield}
		err := eachStatus(ctx, r.conns[0], nbd.BaseAllocation, 0, r.size, func(e nbd.Extent) bool {
			return m.add(disk.Extent{Offset: e.Offset, Length: e.Length, Zero: e.Flags&nbd.StateZero != 0})
		})
		if m.flush() && err != nil {
			yield(disk.Extent{}, err)
		}
	}
}

// Discard has nothing to give up.
func (r *asideReader) Discard(ctx context.Context, _, _ int64) error { return ctx.Err() }

// Close ends the daemon. It is idempotent.
func (r *asideReader) Close() error {
	r.once.Do(func() { r.err = errors.Join(closeAll(r.conns), r.d.release(r.opening, r.proc)) })
	return r.err
}
