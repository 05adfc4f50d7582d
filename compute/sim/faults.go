package sim

import (
	"context"
	"errors"
	"time"

	"holdfast/compute"
)

// ErrInjected is what a fault without an error of its own fails with.
var ErrInjected = errors.New("sim: injected fault")

// Faults are what goes wrong on a Host. The zero value is a host without
// faults. They hold for one Host value, not for others on its directory.
type Faults struct {
	// FailBegin makes Begin fail before its nth step, 1 to BeginSteps.
	FailBegin int
	// LoseAfterReads loses the point in time at the nth read of a Source from
	// now on.
	LoseAfterReads int
	// ScratchBytes is how much a guest may overwrite while a live point is
	// open; more exhausts the scratch space and loses the point.
	ScratchBytes int64
	// ReadDelay is added to each read of a Source.
	ReadDelay time.Duration
	// SpaceBytes is how far into a disk Fill can write; behind that the place
	// is full.
	SpaceBytes int64
	// Room is what Room says; 0: what the file system has.
	Room int64
	// WriteTakes is how long the guests' writes take; a hundred are counted at
	// each look, and as many before each point in time. Nil counts none.
	WriteTakes func() time.Duration
	// Untracked: change tracking misses what the guests write.
	Untracked bool
	// Agent: the guests have an agent, which freezes at once.
	Agent bool
	// DeafGuest ignores its power button.
	DeafGuest bool
	// Call, if set, is asked before each call of the Driver, the Provisioner and
	// the Snapshotter, by its name in lower case ("begin", "start", …); what it
	// returns is what the call fails with.
	Call func(name, machine string) error
}

// BeginSteps is how many steps Begin has that FailBegin can name.
const BeginSteps = 4

// Inject replaces the faults.
func (h *Host) Inject(f Faults) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults, h.reads, h.writes = f, 0, compute.Latency{}
}

func (h *Host) fault() Faults {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.faults
}

// called lets the Call fault decide.
func (h *Host) called(name, machine string) error {
	if call := h.fault().Call; call != nil {
		return call(name, machine)
	}
	return nil
}

// step fails when FailBegin names this step of Begin.
func (h *Host) step(n int) error {
	if h.fault().FailBegin == n {
		return ErrInjected
	}
	return nil
}

// countRead says whether this read loses the point.
func (h *Host) countRead() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads++
	return h.faults.LoseAfterReads > 0 && h.reads == h.faults.LoseAfterReads
}

// LoseTracking removes all change tracking of a machine, as a restored or
// foreign disk file has none.
func (h *Host) LoseTracking(machine string) error {
	return h.change(context.Background(), machine, func(s *state) error {
		return h.dropTracking(s)
	})
}

// LosePoint ends the machine's open point in time, if there is one, while the
// guest runs on.
func (h *Host) LosePoint(machine string) error {
	return h.look(context.Background(), machine, func(s *state) error {
		return h.losePoint(s, "")
	})
}

// Kill ends the hypervisor process as SIGKILL does: the point in time is lost,
// and change tracking is inconsistent.
func (h *Host) Kill(machine string) error {
	err := h.change(context.Background(), machine, func(s *state) error {
		if s.Power == compute.Stopped {
			return compute.ErrState
		}
		for _, bitmaps := range s.Tracking {
			for i := range bitmaps {
				bitmaps[i].Inconsistent = true
			}
		}
		s.Power = compute.Stopped
		return h.losePoint(s, "")
	})
	if err != nil {
		return err
	}
	return h.follow(context.Background(), machine)
}
