package computetest

import (
	"context"
	"errors"
	"runtime"

	"holdfast/compute"
)

var beginBehaviours = []behaviour{
	{"a begin that cannot save leaves nothing, live", func(r *rig) { saveFails(r, true) }},
	{"a begin that cannot save leaves nothing, stopped", func(r *rig) { saveFails(r, false) }},
	{"a begin that was cut off is ended by its handle, live", func(r *rig) { cutOff(r, true) }},
	{"a begin that was cut off is ended by its handle, stopped", func(r *rig) { cutOff(r, false) }},
	{"a begin whose context has ended leaves nothing", beginCancelled},
}

// based makes a machine with a committed backup and a change since.
func based(r *rig, live bool) compute.Point {
	r.running()
	base := r.round()
	r.write("disk0", 2*block, 1)
	if !live {
		r.must(r.host.Stop(r.ctx(), machine, 0))
	}
	return base
}

// usual checks that nothing has happened to the machine.
func (r *rig) usual(live bool, base compute.Point) {
	r.Helper()
	r.nothingLeft(true)
	if live {
		r.expectPower(compute.Running)
		r.write("disk1", 3*block, byte(r.attempt))
	} else {
		r.expectPower(compute.Stopped)
	}
	h := r.begin(base)
	r.expectParent(h, base)
	r.verifyAndEnd(h)
}

// saves is how often Begin saves.
func (r *rig) saves(base compute.Point) int {
	r.Helper()
	n := 0
	h, err := r.host.Begin(r.ctx(), compute.PointRequest{Machine: machine, Point: r.point(), Parents: []compute.Point{base}},
		func(compute.Handle) error {
			n++
			return nil
		})
	r.must(err)
	r.end(h, compute.Abandoned)
	return n
}

func saveFails(r *rig, live bool) {
	base := based(r, live)
	refused := errors.New("the lease is lost")
	for fail := range r.saves(base) {
		n := 0
		_, err := r.host.Begin(r.ctx(), compute.PointRequest{Machine: machine, Point: r.point(), Parents: []compute.Point{base}},
			func(compute.Handle) error {
				if n++; n > fail {
					return refused
				}
				return nil
			})
		r.is(err, refused)
		r.usual(live, base)
	}
}

// cutOff ends Begin within each of its saves, once before and once after the
// handle became durable, and has a successor clean up by the last durable one.
func cutOff(r *rig, live bool) {
	base := based(r, live)
	for fail := range r.saves(base) {
		var durable []compute.Handle
		done := make(chan struct{})
		request := compute.PointRequest{Machine: machine, Point: r.point(), Parents: []compute.Point{base}}
		host, ctx := r.host, r.ctx()
		returned := false
		go func() {
			defer close(done)
			_, err := host.Begin(ctx, request, func(h compute.Handle) error {
				durable = append(durable, h)
				if len(durable) > fail {
					runtime.Goexit() // as near to a SIGKILL as one process gets
				}
				return nil
			})
			returned = true
			r.Errorf("Begin returned (%v) though it was cut off", err)
		}()
		<-done
		if returned {
			return
		}
		r.restart()
		last := durable[len(durable)-1]
		if err := r.host.Recover(r.ctx(), last); err != nil {
			r.is(err, compute.ErrPointLost)
		}
		for range 2 {
			r.end(last, compute.Abandoned)
		}
		r.usual(live, base)
	}
}

func beginCancelled(r *rig) {
	base := based(r, true)
	for at := range r.saves(base) {
		ctx, cancel := context.WithCancel(r.ctx())
		n := 0
		_, err := r.host.Begin(ctx, compute.PointRequest{Machine: machine, Point: r.point(), Parents: []compute.Point{base}},
			func(compute.Handle) error {
				if n++; n > at {
					cancel()
				}
				return ctx.Err()
			})
		cancel()
		r.is(err, context.Canceled)
		r.usual(true, base)
	}
}
