package qemu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"holdfast/compute"
	"holdfast/disk"
	"holdfast/disk/nbd"
)

func fillSocket(disk string) string { return "f" + disk }

// opening is a disk that a storage daemon has open, and nothing else: to be
// filled, or to be read. One at a time is under each record.
type opening struct {
	id, disk string
	dir      string // of its generation
	layers   layers
	size     int64
	socket   string // of the monitor and the export, without their ends
	record   string
	readOnly bool
}

// Fill opens a disk of a stopped machine for writing, through a storage daemon
// with nothing but that disk. What a former Sink wrote stays.
func (d *Driver) Fill(ctx context.Context, id, name string) (disk.Sink, error) {
	m, unlock, err := d.enter(ctx, id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	i := slices.IndexFunc(m.Disks, func(dk compute.Disk) bool { return dk.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("qemu: machine %s has no disk %.20q", id, name)
	}
	if _, alive, err := d.running(id); err != nil || alive {
		return nil, errors.Join(err, fmt.Errorf("qemu: machine %s runs: %w", id, compute.ErrState))
	}
	// Nothing may be written under a point in time.
	if err := d.endLeftover(ctx, m, nil); err != nil {
		return nil, err
	}
	l, err := d.settled(ctx, m)
	if err != nil {
		return nil, err
	}
	if len(l.snapshots()) > 0 {
		return nil, fmt.Errorf("qemu: machine %s has snapshots: %w", id, compute.ErrState)
	}
	return d.sink(ctx, opening{
		id: id, disk: name, dir: current, layers: l, size: m.Disks[i].SizeBytes,
		socket: fillSocket(name), record: fillRecord(name),
	})
}

// sink opens a disk for writing. The caller has the lock.
func (d *Driver) sink(ctx context.Context, o opening) (disk.Sink, error) {
	proc, err := d.open(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &sink{d: d, opening: o, proc: proc}
	if s.conns, err = d.dialOpening(ctx, o, proc); err != nil {
		return nil, errors.Join(err, d.shut(ctx, o))
	}
	return s, nil
}

// dialOpening connects to the export of an open disk.
func (d *Driver) dialOpening(ctx context.Context, o opening, p process, contexts ...string) (conns []*nbd.Conn, err error) {
	for range d.cfg.Connections {
		c, err := dialPeer(ctx, d.socket(o.id, o.socket+".nbd"), p)
		if err != nil {
			return nil, errors.Join(err, closeAll(conns))
		}
		n, err := nbd.New(ctx, c, nbd.Options{Export: o.disk, Contexts: contexts})
		if err != nil {
			return nil, errors.Join(err, closeAll(conns))
		}
		conns = append(conns, n)
	}
	return conns, nil
}

func closeAll(conns []*nbd.Conn) error {
	var err error
	for _, c := range conns {
		err = errors.Join(err, c.Close())
	}
	return err
}

// open starts the storage daemon of an opening, and ends a former one.
func (d *Driver) open(ctx context.Context, o opening) (process, error) {
	if err := d.shut(ctx, o); err != nil {
		return process{}, err
	}
	base := d.socket(o.id, o.socket)
	if err := errors.Join(d.ownDir(d.runDir(o.id)), removeAll(base+".qmp", base+".nbd")); err != nil {
		return process{}, err
	}
	s, err := d.spawn(ctx, daemon{
		argv: d.openArgv(base+".qmp", o), log: d.file(o.id, "fill.log"), record: d.file(o.id, o.record), socket: base + ".qmp",
	})
	if err != nil {
		return process{}, err
	}
	defer s.Close() //nolint:errcheck // never fails
	if !o.readOnly {
		// A disk that is written anew has nothing of its bitmaps' points.
		err = s.dropBitmaps(ctx, o.layers.top(o.disk))
	}
	if err == nil {
		err = s.serve(ctx, base+".nbd")
	}
	if err == nil {
		err = s.Execute(ctx, "block-export-add", args{
			"type": "nbd", "id": "fill", "node-name": o.layers.top(o.disk), "name": o.disk, "writable": !o.readOnly,
		}, nil)
	}
	if err != nil {
		return process{}, errors.Join(err, d.shut(ctx, o))
	}
	return s.proc, nil
}

// openArgv is the command line of the daemon of an opening.
func (d *Driver) openArgv(monitor string, o opening) []string {
	a := []string{
		d.cfg.StorageDaemon,
		"--chardev", fmt.Sprintf("socket,id=qmp,path=%s,server=on,wait=off", escape(monitor)),
		"--monitor", "chardev=qmp,mode=control",
	}
	for _, node := range d.stack(o.id, o.dir, o.disk, o.layers, o.readOnly) {
		a = append(a, "--blockdev", blockdevJSON(node))
	}
	return a
}

func (s *session) dropBitmaps(ctx context.Context, node string) error {
	nodes, err := s.nodes(ctx)
	if err != nil {
		return err
	}
	var actions []action
	for _, b := range nodes[node] {
		actions = append(actions, remove(node, b.Name))
	}
	return s.transaction(ctx, actions)
}

// shut ends the storage daemon of an opening, whoever started it.
func (d *Driver) shut(ctx context.Context, o opening) error {
	p, alive, err := d.find(o.id, o.record, o.socket+".qmp")
	if err != nil {
		return err
	}
	if alive {
		qctx, cancel := context.WithTimeout(ctx, quitTimeout)
		defer cancel()
		s, err := dialSession(qctx, d.socket(o.id, o.socket+".qmp"), p)
		if err == nil {
			err = s.quit(qctx)
			_ = s.Close() // never fails
		}
		if err != nil && p.alive() {
			d.log.Warn("storage daemon is ended by force", "machine", o.id, "disk", o.disk, "pid", p.PID, "error", err)
		}
		if err := p.kill(ctx); err != nil {
			return err
		}
	}
	return removeAll(d.file(o.id, o.record), d.socket(o.id, o.socket+".qmp"), d.socket(o.id, o.socket+".nbd"))
}

// release ends the daemon of an opening, unless another opening of the disk has
// ended it and has its own.
func (d *Driver) release(o opening, p process) error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	_, unlock, err := d.enter(ctx, o.id)
	if errors.Is(err, compute.ErrNotFound) {
		return nil // Delete ended the daemon
	}
	if err != nil {
		return err
	}
	defer unlock()
	var now process
	if _, err := readJSON(d.file(o.id, o.record), &now); err != nil || now != p {
		return err
	}
	return d.shut(ctx, o)
}

// sink writes one disk.
type sink struct {
	opening
	d     *Driver
	proc  process
	conns []*nbd.Conn
	next  atomic.Uint32
	once  sync.Once
	err   error
}

// Size of the disk in bytes.
func (s *sink) Size() int64 { return s.size }

// WriteAt writes p at off.
func (s *sink) WriteAt(p []byte, off int64) (int, error) {
	n, err := s.conns[int(s.next.Add(1))%len(s.conns)].WriteAt(p, off)
	return n, writeError(err)
}

// Sync makes everything written so far durable.
func (s *sink) Sync(ctx context.Context) error {
	// One process has the disk open: a flush on one connection is for all.
	return writeError(s.conns[0].Flush(ctx))
}

func writeError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", disk.ErrNoSpace, err)
	}
	return err
}

// Close ends the daemon. It is idempotent.
func (s *sink) Close() error {
	s.once.Do(func() { s.err = errors.Join(closeAll(s.conns), s.d.release(s.opening, s.proc)) })
	return s.err
}
