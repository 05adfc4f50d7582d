package backup_test

import (
	"testing"

	"holdfast"
	"holdfast/compute/sim"
	"holdfast/vault/blob/fault"
)

// Where a process is killed, and whether its point in time outlives it.
var deaths = []struct {
	name  string
	kept  bool
	armed func(p *process)
}{
	{"before anything", false, func(p *process) { p.atEntry("points", 1) }},
	{"before the point is named", false, func(p *process) { p.atEntry("point", 1) }},
	{"before the point is taken", false, func(p *process) { p.atEntry("point", 2) }},
	{"after the point is taken, before Begin returned", false, func(p *process) { p.atEntry("point", 3) }},
	{"after Begin returned", true, func(p *process) { p.atCall("open", 1) }},
	{"before the sample is drawn", true, func(p *process) { p.atEntry("sample", 1) }},
	{"before the sample is proved", true, func(p *process) { p.atEntry("sample", 2) }},
	{"mid-transfer, a pack put", true, func(p *process) { p.atBlob("packs/", 2, true) }},
	{"mid-transfer, a pack not put", true, func(p *process) { p.atBlob("packs/", 1, false) }},
	{"before the proof that the point held", true, func(p *process) { p.atCall("recover", 5) }},
	{"before the index", true, func(p *process) { p.atBlob("index/", 0, false) }},
	{"before the commit", true, func(p *process) { p.atBlob("backups/", 0, false) }},
	{"after the commit, its answer lost", true, func(p *process) { p.atBlob("backups/", 0, true) }},
	{"after the commit, before End", true, func(p *process) { p.atCall("end", 1) }},
	{"after End, before Finish", true, func(p *process) { p.door.finish = p.die }},
}

// atEntry kills before the nth entry of a key is journalled.
func (p *process) atEntry(key string, n int) {
	p.door.journal = func(k string, at int) {
		if k == key && at == n {
			p.die()
		}
	}
}

// atCall kills before the nth call of the driver.
func (p *process) atCall(name string, n int) {
	p.inject(sim.Faults{}, func(call string, at int) error {
		if call == name && at == n {
			p.die()
			panic(errDead)
		}
		return nil
	})
}

// atBlob kills when a blob is put: after it, or before.
func (p *process) atBlob(prefix string, skip int, after bool) {
	f := p.storage.AddFault(fault.Put).On(prefix).Skip(skip)
	if after {
		f.ErrorAfter(errDead)
	} else {
		f.ErrorInstead(errDead)
	}
	p.storage.OnFault(func(fault.Call) { p.dead.Store(true) })
}

func TestKilledAnywhere(t *testing.T) {
	for _, death := range deaths {
		for _, first := range []bool{true, false} {
			name := death.name + ", incremental"
			if first {
				name = death.name + ", full"
			}
			t.Run(name, func(t *testing.T) {
				w := newWorld(t)
				if !first {
					w.backup()
				}
				w.guestWrites("disk0", 16*block, 8*block)
				w.guestWrites("disk1", 0, 8*block)
				w.killedOnce(death.kept, death.armed)
			})
		}
	}
}

func (w *world) killedOnce(kept bool, arm func(p *process)) {
	w.t.Helper()
	want := w.contents(w.vps)
	p := w.process()
	p.inject(sim.Faults{}, nil)
	arm(p)
	o := w.ask()
	p.run(p.until(p.dead.Load))
	if o = w.see(o.ID); !o.Active() {
		w.t.Fatalf("the killed process ended the operation as %s", o.Status)
	}
	w.guestWrites("disk0", 3*block, block)
	if !kept {
		want = w.contents(w.vps)
	}
	w.ahead.Add(int64(2 * ttl))

	successor := w.process()
	successor.finish(o)
	b := w.completed(o)
	w.holds(b, want)
	if m := w.blobs("backups/" + string(o.BackupID)); len(m) != 1 {
		w.t.Errorf("%d manifests", len(m))
	}
	w.clean()

	// Change tracking lives on: the next backup is right, and small.
	w.guestWrites("disk1", 2*block, 10)
	next := w.backup()
	w.holds(next, w.contents(w.vps))
	if next.Incremental != holdfast.IncrementalDelta || next.ChangedBytes > 3*block {
		w.t.Errorf("the next backup: %+v", next)
	}
	w.clean()
}
