package qemu

import (
	"context"
	"errors"
	"path/filepath"

	"holdfast/compute"
)

// layerDaemon is the storage daemon that works on the layers of a stopped machine.
func layerDaemon(id string) opening {
	return opening{id: id, socket: "layers", record: "layers" + recordSuffix}
}

// attach opens a conversation with whatever process has the disks open, and
// starts a storage daemon named after the point if none has.
func (d *Driver) attach(ctx context.Context, m compute.Machine, p compute.Point) (*session, error) {
	return d.attachBy(ctx, m, recordPoint, d.daemonSocket(m.ID, p))
}

// attachLayers is attach for work on the layers.
func (d *Driver) attachLayers(ctx context.Context, m compute.Machine) (*session, error) {
	o := layerDaemon(m.ID)
	return d.attachBy(ctx, m, o.record, d.socket(m.ID, o.socket+".qmp"))
}

func (d *Driver) attachBy(ctx context.Context, m compute.Machine, record, socket string) (*session, error) {
	proc, alive, err := d.running(m.ID)
	if err != nil {
		return nil, err
	}
	if alive {
		s, err := d.connect(ctx, m.ID, proc)
		if err == nil {
			return s, nil
		}
		if _, err := proc.endedOr(ctx, err); err != nil {
			return nil, err
		}
	}
	l, err := d.layers(m.ID, current)
	if err != nil {
		return nil, err
	}
	proc, alive, err = d.find(m.ID, record, filepath.Base(socket))
	if err != nil {
		return nil, err
	}
	if alive {
		s, err := dialSession(ctx, socket, proc)
		if err == nil {
			s.layers = l
			return s, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		// A daemon that does not answer serves nobody.
		if err := proc.kill(ctx); err != nil {
			return nil, err
		}
	}
	return d.openLayers(ctx, m, l, record, socket)
}

// openLayers starts a storage daemon that has all disks open, as they are without
// the layers that are not of l.
func (d *Driver) openLayers(ctx context.Context, m compute.Machine, l layers, record, socket string) (*session, error) {
	if err := errors.Join(d.ownDir(d.runDir(m.ID)), removeAll(socket)); err != nil {
		return nil, err
	}
	s, err := d.spawn(ctx, daemon{
		argv: d.daemonArgv(m.ID, socket, m.Disks, l), log: d.file(m.ID, "point.log"),
		record: d.file(m.ID, record), socket: socket,
	})
	if err == nil {
		s.layers = l
	}
	return s, err
}
