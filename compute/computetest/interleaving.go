package computetest

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"holdfast/compute"
)

// An interleaving is a sequence of events of a machine with snapshots and
// backups, a letter each:
//
//	w  the guest writes where it has written before
//	s  a snapshot is taken
//	c  the machine is backed up
//	a  its backup is abandoned
//	r  the machine goes back to its newest snapshot; R to its oldest
//	d  the newest snapshot is given up; D the oldest
//	q  the machine is stopped and started
//	k  its hypervisor is killed, and it is started
//	p  it is stopped, or started if it does not run
//
// After each of them a guest that runs writes some more.
const letters = "wscarRdDqkp"

// stage is how far an interleaving has come: what can happen depends on it.
type stage struct {
	off       bool
	snapshots int
}

// next is the stage after an event, if that can happen and is no other's.
func (st stage) next(event rune) (stage, bool) {
	switch event {
	case 'w', 'q', 'k':
		return st, !st.off
	case 's':
		st.snapshots++
	case 'r':
		return st, st.snapshots > 0
	case 'R', 'D':
		if st.snapshots < 2 {
			return st, false
		}
		if st.snapshots--; event == 'R' {
			st.snapshots = 1
		}
	case 'd':
		st.snapshots--
	case 'p':
		st.off = !st.off
	}
	return st, st.snapshots >= 0
}

// Interleavings are all of n events.
func Interleavings(n int) iter.Seq[string] {
	return func(yield func(string) bool) {
		extend("", stage{}, n, yield)
	}
}

func extend(sofar string, st stage, n int, yield func(string) bool) bool {
	if len(sofar) == n {
		return yield(sofar)
	}
	for _, event := range letters {
		if next, ok := st.next(event); ok && !extend(sofar+string(event), next, n, yield) {
			return false
		}
	}
	return true
}

// RandomInterleaving is one of n events.
func RandomInterleaving(seed uint64, n int) string {
	rng, st := rand.New(rand.NewPCG(seed, 0)), stage{} //nolint:gosec // a test case, to be had again
	var events strings.Builder
	for events.Len() < n {
		event := rune(letters[rng.IntN(len(letters))])
		if next, ok := st.next(event); ok {
			st = next
			events.WriteRune(event)
		}
	}
	return events.String()
}

// TestInterleaving lets the events happen to a new machine. Each backup has to
// have the bytes of its instant, and to call nothing clean that is not as it was
// in its parent; each snapshot has to have the bytes of its own, and so have the
// disks at the end.
func TestInterleaving(t *testing.T, h Harness, events string) {
	line := &line{rig: newRig(t, h)}
	line.size = 4 * block
	line.define()
	line.must(line.host.Start(line.ctx(), machine))
	for _, event := range events {
		line.happen(event)
		if !line.off {
			line.scribble()
		}
	}
	line.backup(compute.Committed)
	line.restart()
	line.expectSnapshots(line.ids...)
	line.turnOff()
	line.backup(compute.Abandoned)
	for i := range slices.Backward(line.ids) {
		line.back(i)
		line.backup(compute.Abandoned)
	}
}

// line is a machine with a line of snapshots.
type line struct {
	*rig
	off     bool
	ids     []string
	parents []compute.Point // the newest first
	taken   int
	written int
}

func (l *line) happen(event rune) {
	l.Helper()
	newest := len(l.ids) - 1
	switch event {
	case 'w':
		l.written++
		l.write("disk0", 3*block, byte(l.written))
	case 's':
		l.taken++
		id := fmt.Sprintf("s%d", l.taken)
		l.snapshot(id)
		l.ids = append(l.ids, id)
	case 'c':
		l.backup(compute.Committed)
	case 'a':
		l.backup(compute.Abandoned)
	case 'r':
		l.back(newest)
	case 'R':
		l.back(0)
	case 'd':
		l.giveUp(l.ids[newest])
		l.ids = l.ids[:newest]
	case 'D':
		l.giveUp(l.ids[0])
		l.ids = l.ids[1:]
	case 'q':
		l.must(l.host.Stop(l.ctx(), machine, 0))
		l.must(l.host.Start(l.ctx(), machine))
	case 'k':
		l.must(l.Kill(machine))
		l.must(l.host.Start(l.ctx(), machine))
	case 'p':
		if l.off {
			l.must(l.host.Start(l.ctx(), machine))
			l.off = false
		} else {
			l.turnOff()
		}
	}
}

// scribble is a guest that never rests: some blocks are only ever written once,
// and some often.
func (l *line) scribble() {
	l.Helper()
	l.written++
	blocks := l.size / block
	l.write("disk0", int64(l.written)%blocks*block, byte(l.written))
	l.write("disk1", int64(l.written)/2%2*block, byte(l.written))
}

func (l *line) turnOff() {
	l.Helper()
	l.must(l.host.Stop(l.ctx(), machine, 0))
	l.off = true
}

// back goes back to a snapshot; the machine runs afterwards if it did.
func (l *line) back(to int) {
	l.Helper()
	l.must(l.host.Stop(l.ctx(), machine, 0))
	l.rollback(l.ids[to])
	l.ids = l.ids[:to+1]
	l.expectSnapshots(l.ids...)
	if !l.off {
		l.must(l.host.Start(l.ctx(), machine))
	}
}

func (l *line) backup(outcome compute.Outcome) {
	l.Helper()
	h := l.begin(l.parents...)
	l.verify(h)
	l.end(h, outcome)
	if outcome == compute.Committed {
		l.parents = append([]compute.Point{h.Point}, l.parents...)
	}
}
