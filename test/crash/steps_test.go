package crash

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"holdfast/test/service"
)

// cells is how many cells a change runs, other ones after each commit;
// HOLDFAST_FULL runs all.
const cells = 14

// cell is one death: of the service, or of the hypervisor under it, at one pass
// of one place of one operation.
type cell struct {
	of     scenario
	place  string // and the number of the pass
	victim string
}

func (c cell) String() string {
	return strings.ReplaceAll(fmt.Sprintf("%s/%s/%s", c.of.name, c.place, c.victim), " ", "_")
}

// TestSteps runs every kind of operation once to learn its places from the code
// itself, and then again for each place, at which the service or its hypervisor
// is killed: the operation ends well by itself, and nothing is left of it.
func TestSteps(t *testing.T) {
	w := newStepped(t)
	var all, below []cell // the service's deaths, and the hypervisor's
	passed := map[string]bool{}
	for _, s := range scenarios {
		t.Run("whole/"+strings.ReplaceAll(s.name, " ", "_"), func(t *testing.T) {
			for _, place := range w.whole(t, s) {
				name, _, _ := strings.Cut(place, " ")
				passed[name] = true
				all = append(all, cell{s, place, "service"})
				if s.hypervisor {
					below = append(below, cell{s, place, "hypervisor"})
				}
			}
		})
	}
	if !t.Failed() {
		everyPlace(t, passed)
	}
	for _, c := range chosen(t, append(all, below...)) {
		t.Run(c.String(), func(t *testing.T) { w.die(t, c) })
	}
	w.Run(t, "vault", "check", "--read-data")
}

// chosen are the cells to run: all, or a share that the commit decides on.
func chosen(t *testing.T, all []cell) []cell {
	t.Helper()
	if os.Getenv("HOLDFAST_FULL") != "" || len(all) == 0 {
		return all
	}
	commit, err := exec.CommandContext(t.Context(), "git", "rev-parse", "HEAD").Output()
	if err != nil || len(commit) < 8 {
		t.Logf("no commit to choose by (%v): the first cells", err)
		commit = []byte("00000000")
	}
	n, err := strconv.ParseUint(string(commit[:8]), 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	every := (len(all) + cells - 1) / cells
	var some []cell
	for i := int(n) % every; i < len(all); i += every {
		some = append(some, all[i])
	}
	t.Logf("%d of %d cells, by the commit", len(some), len(all))
	return some
}

// whole runs a scenario without a death and returns the places that its
// operation has passed.
func (w *stepped) whole(t *testing.T, s scenario) []string {
	t.Helper()
	w.nothingLeft(t)
	if s.ready != nil {
		s.ready(t, w)
		w.nothingLeft(t)
	}
	w.halts.arm(t, "")
	job := s.begin(t, w)
	j := w.end(t, s, job)
	if job != "" && j.Status != "completed" {
		t.Fatalf("the job failed: %+v\n%s", j.Error, w.Log(t))
	}
	w.ended(t, s.kind)
	places := slices.DeleteFunc(w.halts.passed(t), func(place string) bool {
		// The upkeep that may run meanwhile uses no hypervisor.
		return diedElsewhere(place) ||
			!strings.HasPrefix(place, string(s.kind)+".") && (job == "" && !s.hypervisor || !strings.HasPrefix(place, "qemu."))
	})
	s.check(t, w, j)
	w.nothingLeft(t)
	return places
}

// end waits for the end of the scenario's operation.
func (w *stepped) end(t *testing.T, s scenario, job string) service.Job {
	t.Helper()
	if job == "" {
		w.ended(t, s.kind)
		return service.Job{}
	}
	return w.Until(t, w.owner.Key, job, patience, func(service.Job) bool { return false })
}

// die runs a scenario up to a place, kills, and has it end by itself.
func (w *stepped) die(t *testing.T, c cell) {
	w.prune(t, w.vps)
	if w.linux != "" {
		w.prune(t, w.linux)
	}
	if c.of.ready != nil {
		c.of.ready(t, w)
	}
	w.nothingLeft(t)
	w.halts.arm(t, c.place)
	job := c.of.begin(t, w)
	over := func() bool {
		if job == "" {
			return slices.Contains(w.halts.passed(t), string(c.of.kind)+".finished 1")
		}
		j, ok := w.Job(t, w.owner.Key, job)
		return ok && (j.Status == "completed" || j.Status == "failed")
	}
	await(t, "the service to be at "+c.place, func() bool { return w.halts.hit() || over() && !strings.HasSuffix(c.place, ".finished 1") })
	if !w.halts.hit() {
		w.halts.disarm(t)
		if strings.HasSuffix(c.place, " 1") {
			t.Errorf("the operation does not come to %s", c.place)
		}
		t.Logf("this time the operation did not come to %s", c.place)
	} else if c.victim == "service" {
		w.Kill(t)
		w.Start(t)
	} else {
		t.Logf("%d hypervisors killed", w.killHypervisors(t))
		w.halts.goOn(t)
	}
	j := w.end(t, c.of, job)
	if job != "" && j.Status != "completed" && (c.victim == "service" || j.Error == nil || !slices.Contains(c.of.may, j.Error.Code)) {
		t.Fatalf("the job is %s with %+v\n%s", j.Status, j.Error, w.Log(t))
	}
	c.of.check(t, w, j)
	w.nothingLeft(t)
}
