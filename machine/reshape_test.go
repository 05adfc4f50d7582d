package machine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"holdfast"
	"holdfast/compute"
	"holdfast/compute/sim"
	"holdfast/machine"
	"holdfast/operation"
)

// reshaping is the operation of a change of disks.
func reshaping(t *testing.T, vps holdfast.VPSID, in holdfast.ReshapeInput) *journal {
	t.Helper()
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return &journal{op: holdfast.Operation{ID: holdfast.NewID[holdfast.JobID](), Kind: holdfast.KindVPSReshape, VPSID: vps, Input: raw},
		entries: map[string]json.RawMessage{}, known: make(chan struct{})}
}

// reshape has a runner work on a change of disks until it has ended.
func reshape(t *testing.T, h *machine.Host, j *journal) *operation.Outcome {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	r := operation.NewRunner(j, operation.Config{
		Name: "r", TTL: 600 * time.Millisecond, Poll: time.Millisecond, Publish: 5 * time.Millisecond, MaxAttempts: 3,
		FirstDelay: time.Millisecond, MostDelay: time.Millisecond, Grace: 2 * time.Second, Log: slog.New(slog.DiscardHandler),
	}, map[holdfast.Kind]operation.Handler{holdfast.KindVPSReshape: h.Reshape})
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if j.ended() != nil {
				stop()
			}
		case err := <-done:
			if err != nil || j.ended() == nil {
				t.Fatalf("%v, %v", err, j.ended())
			}
			return j.ended()
		}
	}
}

// disksOf are the disks that the host knows of a machine.
func disksOf(t *testing.T, s *sim.Host, vps holdfast.VPSID) string {
	t.Helper()
	all, err := s.Generations(t.Context(), string(vps))
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	return fmt.Sprint(all[0].Disks)
}

func TestReshape(t *testing.T) {
	h, s := newHost(t, 2)
	h.Reshaper = s
	id, _ := define(t, h, input())
	for _, c := range []struct {
		in   holdfast.ReshapeInput
		want string
	}{
		{holdfast.ReshapeInput{Change: holdfast.ReshapeGrow, Disk: holdfast.VPSDisk{Name: "disk0", SizeBytes: 2 << 20}}, "[{disk0 2097152  }]"},
		{holdfast.ReshapeInput{Change: holdfast.ReshapeAdd, Disk: holdfast.VPSDisk{Name: "disk1", SizeBytes: 1 << 20}}, "[{disk0 2097152  } {disk1 1048576  }]"},
		{holdfast.ReshapeInput{Change: holdfast.ReshapeRemove, Disk: holdfast.VPSDisk{Name: "disk1"}}, "[{disk0 2097152  }]"},
	} {
		for range 2 { // a successor does it again
			if o := reshape(t, h, reshaping(t, id, c.in)); o.Failure != nil || disksOf(t, s, id) != c.want {
				t.Fatalf("%v: %+v, the host has %s", c.in, o.Failure, disksOf(t, s, id))
			}
		}
	}
}

func TestReshapeRefused(t *testing.T) {
	h, s := newHost(t, 2)
	id, _ := define(t, h, input())
	grow := holdfast.ReshapeInput{Change: holdfast.ReshapeGrow, Disk: holdfast.VPSDisk{Name: "disk0", SizeBytes: 2 << 20}}
	code := func(in holdfast.ReshapeInput, want holdfast.Code) {
		t.Helper()
		if o := reshape(t, h, reshaping(t, id, in)); o.Failure == nil || o.Failure.Code != want {
			t.Errorf("%v: %+v, want %s", in, o.Failure, want)
		}
	}
	code(grow, holdfast.CodeVPSNotReady) // the host's driver has no such thing
	h.Reshaper = s
	code(holdfast.ReshapeInput{Change: "melt"}, holdfast.CodeInternal)
	if err := s.Start(t.Context(), string(id)); err != nil {
		t.Fatal(err)
	}
	code(holdfast.ReshapeInput{Change: holdfast.ReshapeAdd, Disk: holdfast.VPSDisk{Name: "disk1", SizeBytes: 512}}, holdfast.CodeVPSStateChanged)
	s.Inject(sim.Faults{Call: func(name, _ string) error {
		if name == "grow" {
			return fmt.Errorf("no room: %w", compute.ErrNoSpace)
		}
		return nil
	}})
	code(grow, holdfast.CodeHostDiskFull)
	if got := disksOf(t, s, id); got != "[{disk0 1048576  }]" {
		t.Errorf("the host has %s", got)
	}
}

// TestReshapeIsNotCancelled: a cancel that comes while it is done comes too late.
func TestReshapeIsNotCancelled(t *testing.T) {
	h, s := newHost(t, 2)
	id, _ := define(t, h, input())
	j := reshaping(t, id, holdfast.ReshapeInput{Change: holdfast.ReshapeGrow, Disk: holdfast.VPSDisk{Name: "disk0", SizeBytes: 2 << 20}})
	j.op.Cancel = true
	h.Reshaper = slow{s, j.known}
	if o := reshape(t, h, j); o.Failure != nil || disksOf(t, s, id) != "[{disk0 2097152  }]" {
		t.Errorf("%+v, the host has %s", o.Failure, disksOf(t, s, id))
	}
}

// slow begins when the runner knows of the cancel.
type slow struct {
	compute.Reshaper

	known <-chan struct{}
}

func (s slow) Grow(ctx context.Context, machine, disk string, size int64) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.known:
		return s.Reshaper.Grow(ctx, machine, disk, size)
	}
}
