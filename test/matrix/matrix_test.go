package matrix

import (
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"holdfast"
	"holdfast/compute"
)

// moments are when an event happens: before a backup, within it when its point in
// time has been taken, some of it has been read, or just before it is committed,
// and after it.
var moments = []string{"before", "taken", "half", "commit", "after"}

// cell is one event at one moment on one driver.
type cell struct {
	event  event
	moment string
	driver string
}

func (c cell) String() string { return c.driver + "/" + c.event.name + "/" + c.moment }

// cells are all of them on one driver.
func cells(driver string) []cell {
	var all []cell
	for _, e := range events {
		for _, m := range moments {
			all = append(all, cell{e, m, driver})
		}
	}
	return all
}

// run proves that the backup around the event, the next one, and the one after
// that have every byte, and came about as they should.
func (c cell) run(t *testing.T) {
	w := newWorld(t, labs[c.driver])
	if c.event.prepare != nil {
		c.event.prepare(w)
	}
	lost := map[bool]string{false: holdfast.IncrementalDelta, true: holdfast.IncrementalFixed}[c.event.repair]
	switch c.moment {
	case "before":
		c.event.does(w)
		w.expect(w.backup("", nil), lost)
	case "after":
		w.expect(w.backup("", nil), holdfast.IncrementalDelta)
		if w.power() == compute.Running {
			w.write()
		}
		c.event.does(w)
		w.expect(w.backup("", nil), lost)
	default:
		w.expect(w.backup(c.moment, func(l *life) { c.event.during(w, l) }), lost)
	}
	w.running()
	w.write()
	w.expect(w.backup("", nil), holdfast.IncrementalDelta)
	w.readBoth()
}

// core are the cells that each change runs on real hypervisors, beside a share of
// the others that differs from commit to commit.
var core = []string{
	"qemu/SIGKILL of the hypervisor/half", "qemu/SIGKILL of the service/commit", "qemu/host reboot/taken",
	"qemu/forced stop/half", "qemu/disk grown/after", "qemu/disk added/before", "qemu/snapshot rolled back/after",
	"qemu/snapshot removed/before", "qemu/restored in place/before", "qemu/restore undone/after",
}

// share is one in how many of the others that is.
const share = 6

// TestMatrix runs every cell on the simulated hypervisor, and on real ones the
// core and a share; HOLDFAST_FULL runs all, goes on where a run of the same commit
// left off, and ends early at HOLDFAST_SLICE_END.
func TestMatrix(t *testing.T) {
	var all []cell
	for _, driver := range slices.Sorted(maps.Keys(labs)) {
		all = append(all, cells(driver)...)
	}
	for _, name := range core {
		if labs["qemu"] != nil && !slices.ContainsFunc(all, func(c cell) bool { return c.String() == name }) {
			t.Errorf("there is no cell %s", name)
		}
	}
	if os.Getenv("HOLDFAST_FULL") != "" {
		runAll(t, all)
		return
	}
	turn := int(commit(t).hash() % share)
	for i, c := range all {
		if c.driver == "sim" || slices.Contains(core, c.String()) || i%share == turn {
			t.Run(c.String(), c.run)
		}
	}
}

// runAll runs what has not passed yet, and when everything has, says so where
// HOLDFAST_MATRIX wants it.
func runAll(t *testing.T, all []cell) {
	r := openRecord(t, commit(t))
	for _, c := range all {
		if _, passed := r.Passed[c.String()]; passed {
			continue
		}
		if r.late() {
			t.Errorf("the slice is over with %d of %d cells passed; run it again to go on", len(r.Passed), len(all))
			return
		}
		began := time.Now()
		if t.Run(c.String(), c.run) {
			r.pass(t, c, time.Since(began))
		}
	}
	if path := os.Getenv("HOLDFAST_MATRIX"); path != "" && !t.Failed() {
		r.tell(t, path)
	}
}
