package qemu

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast/compute"
)

// live takes the point in time of a running machine. Its guest is paused only
// while the filters are slid in and the bitmaps begin, which takes all disks at
// one instant; everything that takes time is done before or after.
func (t *taking) live(ctx context.Context, s *session) error {
	if err := t.prepare(ctx, s); err != nil {
		return err
	}
	t.d.at("qemu.begin.prepared")
	if !t.st.Resumes {
		if err := t.slideIn(ctx, s); err != nil {
			return err
		}
	} else if err := t.paused(ctx, s); err != nil {
		return err
	}
	for i := range t.m.Disks {
		n := namesOf(t.h.Point, i)
		if err := s.addNode(ctx, args{
			"driver": "snapshot-access", "node-name": n.access, "file": n.filter, "discard": "unmap",
		}); err != nil {
			return err
		}
	}
	t.d.at("qemu.begin.access")
	return t.serve(ctx, s, func(i int) string { return namesOf(t.h.Point, i).access }, true)
}

// prepare adds scratch and filters, which see nothing yet, and has the guest's
// writes so far on disk, because stop flushes them while the guest waits.
func (t *taking) prepare(ctx context.Context, s *session) error {
	if t.d.scratchFull(t.m.ID) {
		return fmt.Errorf("qemu: no scratch space to begin with: %w", compute.ErrScratchExhausted)
	}
	if err := passable(t.d.scratchDir(t.m.ID)); err != nil {
		return err
	}
	for i, dk := range t.m.Disks {
		n, path := namesOf(t.h.Point, i), t.d.scratchPath(t.m.ID, t.h.Point, dk.Name)
		if err := t.d.createScratch(path, dk.SizeBytes); err != nil {
			return err
		}
		if err := s.addNode(ctx, args{
			"driver": "raw", "node-name": n.scratch, "discard": "unmap",
			"file": args{"driver": "file", "filename": path, "discard": "unmap"},
		}); err != nil {
			return err
		}
		// No bitmap here: part of a chunk could not be read then.
		if err := s.addNode(ctx, args{
			"driver": "copy-before-write", "node-name": n.filter, "file": s.layers.top(dk.Name),
			"target": n.scratch, "on-cbw-error": "break-snapshot", "cbw-timeout": 1,
		}); err != nil {
			return err
		}
	}
	// A guest's power-off must not take the point in time with it.
	if err := s.Execute(ctx, "set-action", args{"shutdown": "pause"}, nil); err != nil {
		return err
	}
	for _, dk := range t.m.Disks {
		if err := syncFile(t.d.topPath(t.m.ID, current, dk.Name, s.layers)); err != nil {
			return err
		}
	}
	return nil
}

// paused does the slide under the watchdog's eyes, with the guest's file systems
// frozen if it has an agent that does it in time.
func (t *taking) paused(ctx context.Context, s *session) (err error) {
	dog, err := t.d.watch(ctx, t.m.ID)
	if err != nil {
		return err
	}
	if t.st.Freezes {
		dog.ask()
		t.d.at("qemu.begin.freezing")
		if t.h.NotFrozen = dog.frozen(); t.h.NotFrozen == "" {
			t.d.at("qemu.begin.frozen")
		}
	}
	began := time.Now()
	defer func() {
		// Whatever happened, and also when ctx has ended: the guest goes on.
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		cerr := s.Execute(cctx, "cont", nil, nil)
		pause := time.Since(began)
		rerr := t.released(dog)
		t.d.log.Debug("guest was paused", "machine", t.m.ID, "point", t.h.Point, "for", pause, "frozen", t.h.Frozen, "why not", t.h.NotFrozen)
		err = errors.Join(err, cerr, rerr)
	}()
	if err := s.Execute(ctx, "stop", nil, nil); err != nil {
		return err
	}
	t.d.at("qemu.begin.stopped")
	return t.slideIn(ctx, s)
}

// released lets the watchdog go, which thaws, and settles whether the file
// systems were frozen at the point in time.
func (t *taking) released(dog *watchdog) error {
	thawed, err := dog.release()
	if errors.Is(err, errUnthawed) {
		t.d.thaw(t.m.ID)
	}
	if !t.st.Freezes || t.h.NotFrozen != "" {
		return err
	}
	if t.h.Frozen = thawed && err == nil; !t.h.Frozen {
		t.h.NotFrozen = "the guest agent did not confirm that it was frozen until after the point in time"
	}
	return err
}

func (t *taking) slideIn(ctx context.Context, s *session) error {
	for i, dk := range t.m.Disks {
		if err := s.setDrive(ctx, dk.Name, namesOf(t.h.Point, i).filter); err != nil {
			return err
		}
	}
	if err := s.transaction(ctx, t.begin()); err != nil {
		return err
	}
	t.d.at("qemu.begin.slid")
	return nil
}
