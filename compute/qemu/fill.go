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
	if err := d.endFill(ctx, id, name); err != nil {
		return nil, err
	}
	proc, err := d.startFill(ctx, m, m.Disks[i])
	if err != nil {
		return nil, err
	}
	s := &sink{d: d, id: id, disk: name, proc: proc, size: m.Disks[i].SizeBytes}
	for range d.cfg.Connections {
		c, err := s.dial(ctx)
		if err != nil {
			_ = s.closeConns() // nothing was written
			return nil, errors.Join(err, d.endFill(ctx, id, name))
		}
		s.conns = append(s.conns, c)
	}
	return s, nil
}

func (d *Driver) startFill(ctx context.Context, m compute.Machine, dk compute.Disk) (process, error) {
	base := d.socket(m.ID, fillSocket(dk.Name))
	if err := errors.Join(d.ownDir(d.runDir(m.ID)), removeAll(base+".qmp", base+".nbd")); err != nil {
		return process{}, err
	}
	s, err := d.spawn(ctx, daemon{
		argv: d.daemonArgv(m.ID, base+".qmp", []compute.Disk{dk}), log: d.file(m.ID, "fill.log"),
		record: d.file(m.ID, fillRecord(dk.Name)), socket: base + ".qmp",
	})
	if err != nil {
		return process{}, err
	}
	defer s.Close() //nolint:errcheck // never fails
	// A disk that is written anew has nothing of its bitmaps' points.
	if err = s.dropBitmaps(ctx, dk.Name); err == nil {
		err = s.serve(ctx, base+".nbd")
	}
	if err == nil {
		err = s.Execute(ctx, "block-export-add", args{
			"type": "nbd", "id": "fill", "node-name": diskNode(dk.Name), "name": dk.Name, "writable": true,
		}, nil)
	}
	if err != nil {
		return process{}, errors.Join(err, d.endFill(ctx, m.ID, dk.Name))
	}
	return s.proc, nil
}

func (s *session) dropBitmaps(ctx context.Context, disk string) error {
	nodes, err := s.nodes(ctx)
	if err != nil {
		return err
	}
	var actions []action
	for _, b := range nodes[diskNode(disk)] {
		actions = append(actions, remove(disk, b.Name))
	}
	return s.transaction(ctx, actions)
}

// endFill ends the storage daemon that fills a disk, whoever started it.
func (d *Driver) endFill(ctx context.Context, id, name string) error {
	base := fillSocket(name)
	p, alive, err := d.find(id, fillRecord(name), base+".qmp")
	if err != nil {
		return err
	}
	if alive {
		qctx, cancel := context.WithTimeout(ctx, quitTimeout)
		defer cancel()
		s, err := dialSession(qctx, d.socket(id, base+".qmp"), p)
		if err == nil {
			err = s.quit(qctx)
			_ = s.Close() // never fails
		}
		if err != nil && p.alive() {
			d.log.Warn("storage daemon is ended by force", "machine", id, "disk", name, "pid", p.PID, "error", err)
		}
		if err := p.kill(ctx); err != nil {
			return err
		}
	}
	return removeAll(d.file(id, fillRecord(name)), d.socket(id, base+".qmp"), d.socket(id, base+".nbd"))
}

// sink writes one disk.
type sink struct {
	d     *Driver
	id    string
	disk  string
	proc  process
	size  int64
	conns []*nbd.Conn
	next  atomic.Uint32
	once  sync.Once
	err   error
}

func (s *sink) dial(ctx context.Context) (*nbd.Conn, error) {
	c, err := dialPeer(ctx, s.d.socket(s.id, fillSocket(s.disk)+".nbd"), s.proc)
	if err != nil {
		return nil, err
	}
	return nbd.New(ctx, c, nbd.Options{Export: s.disk})
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
	s.once.Do(func() {
		s.err = s.closeConns()
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
		defer cancel()
		if _, err := s.d.load(s.id); errors.Is(err, compute.ErrNotFound) {
			return // Delete ended the daemon
		}
		unlock, err := s.d.lock(ctx, s.id)
		if err != nil {
			s.err = errors.Join(s.err, err)
			return
		}
		defer unlock()
		var now process
		// Another Sink of the disk may have ended ours and have its own.
		if _, err := readJSON(s.d.file(s.id, fillRecord(s.disk)), &now); err != nil || now != s.proc {
			s.err = errors.Join(s.err, err)
			return
		}
		s.err = errors.Join(s.err, s.d.endFill(ctx, s.id, s.disk))
	})
	return s.err
}

func (s *sink) closeConns() error {
	var err error
	for _, c := range s.conns {
		err = errors.Join(err, c.Close())
	}
	return err
}
