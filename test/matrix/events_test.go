package matrix

import (
	"errors"
	"time"

	"holdfast/compute"
)

// event is something that happens to a machine.
type event struct {
	name string
	// prepare happens after the machine's first backup.
	prepare func(w *world)
	// happen may happen at any moment; l is the service at whose backup it does,
	// nil when there is none.
	happen func(w *world, l *life)
	// Or it is an act of the driver, which refuses it under a point in time: of a
	// machine that is stopped for it, unless live. changed is what follows for the
	// disks.
	act     func(w *world) error
	live    bool
	changed func(w *world)
	// repair: change tracking does not survive it.
	repair bool
}

// events is the one list of what can happen.
var events = []event{
	{name: "nothing", happen: func(*world, *life) {}},
	{name: "guest reboot", happen: func(w *world, _ *life) { w.ok(w.lab.Reset(name)) }},
	{name: "guest shutdown", happen: func(w *world, _ *life) { w.ok(w.lab.PowerOff(name)) }},
	{name: "forced stop", happen: func(w *world, _ *life) { w.ok(w.host.Stop(w.t.Context(), name, 0)) }},
	{name: "stop and start", happen: func(w *world, _ *life) {
		w.ok(w.host.Stop(w.t.Context(), name, 0))
		w.ok(w.host.Start(w.t.Context(), name))
	}},
	{name: "pause", happen: func(w *world, _ *life) { w.ok(w.lab.Pause(name)) }},
	{name: "pause and resume", happen: func(w *world, _ *life) {
		w.ok(w.lab.Pause(name))
		w.ok(w.lab.Resume(name))
	}},
	{name: "SIGKILL of the hypervisor", repair: true, happen: func(w *world, _ *life) { w.ok(w.lab.Kill(name)) }},
	{name: "SIGKILL of the service", happen: serviceDies},
	{name: "host reboot", repair: true, happen: func(w *world, l *life) {
		serviceDies(w, l)
		w.ok(w.lab.Kill(name))
		var err error
		w.host, err = w.lab.Open()
		w.ok(err)
		w.ok(w.host.Start(w.t.Context(), name))
	}},
	{name: "disk grown", live: true,
		act:     func(w *world) error { return w.host.Grow(w.t.Context(), name, "disk0", diskSize+3*block+4096) },
		changed: func(w *world) { w.now["disk0"] = append(w.now["disk0"], make([]byte, 3*block+4096)...) }},
	{name: "disk grown while stopped",
		act:     func(w *world) error { return w.host.Grow(w.t.Context(), name, "disk1", 2*diskSize) },
		changed: func(w *world) { w.now["disk1"] = append(w.now["disk1"], make([]byte, diskSize)...) }},
	{name: "disk added",
		act: func(w *world) error {
			return w.host.AddDisk(w.t.Context(), name, compute.Disk{Name: "disk2", SizeBytes: 4 * block})
		},
		changed: func(w *world) { w.now["disk2"] = make([]byte, 4*block) }},
	{name: "disk removed",
		act:     func(w *world) error { return w.host.RemoveDisk(w.t.Context(), name, "disk1") },
		changed: func(w *world) { delete(w.now, "disk1") }},
	{name: "snapshot created", live: true, act: func(w *world) error { return snapshot(w, "s1") }},
	{name: "snapshot rolled back", prepare: earlierSnapshot,
		act:     func(w *world) error { return w.host.Rollback(w.t.Context(), name, "s0") },
		changed: func(w *world) { w.now = w.shots["s0"].clone() }},
	{name: "snapshot removed", live: true, prepare: earlierSnapshot,
		act: func(w *world) error { return w.host.RemoveSnapshot(w.t.Context(), name, "s0", nil) }},
	{name: "snapshot removed while stopped", prepare: earlierSnapshot,
		act: func(w *world) error { return w.host.RemoveSnapshot(w.t.Context(), name, "s0", nil) }},
	{name: "restored in place", prepare: prepareRestore,
		act:     func(w *world) error { return w.host.Switch(w.t.Context(), name, "restored") },
		changed: switched},
	{name: "restore undone", prepare: func(w *world) {
		prepareRestore(w)
		w.ok(w.host.Stop(w.t.Context(), name, 0))
		w.ok(w.host.Switch(w.t.Context(), name, "restored"))
		switched(w)
		w.running()
		w.write()
	},
		act:     func(w *world) error { return w.host.Switch(w.t.Context(), name, compute.FirstGeneration) },
		changed: switched},
}

// serviceDies is SIGKILL: what it does ends in the middle, and a new one comes up.
func serviceDies(w *world, l *life) {
	if l != nil {
		l.die()
	}
	var err error
	w.host, err = w.lab.Open()
	w.ok(err)
}

func snapshot(w *world, id string) error {
	_, err := w.host.Snapshot(w.t.Context(), name, id)
	if err == nil {
		w.shots[id] = w.now.clone()
	}
	return err
}

// earlierSnapshot is taken between two writes.
func earlierSnapshot(w *world) {
	w.ok(snapshot(w, "s0"))
	w.write()
}

// prepareRestore fills a generation aside with the first backup.
func prepareRestore(w *world) {
	ctx := w.t.Context()
	first := w.backups[len(w.backups)-1]
	var disks []compute.Disk
	at := map[string]compute.Point{}
	for _, d := range w.disks() {
		disks = append(disks, compute.Disk{Name: d.Name, SizeBytes: d.SizeBytes})
		at[d.Name] = compute.Point(first.point)
	}
	w.ok(w.host.Prepare(ctx, name, "restored", disks))
	for _, d := range disks {
		sink, err := w.host.FillGeneration(ctx, name, "restored", d.Name)
		w.ok(err)
		_, err = sink.WriteAt(first.content[d.Name], 0)
		w.ok(errors.Join(err, sink.Sync(ctx), sink.Close()))
	}
	w.ok(w.host.Ready(ctx, name, "restored", at))
	w.aside = first.clone()
}

// switched: the other generation's disks are in force.
func switched(w *world) { w.now, w.aside = w.aside, w.now }

// does lets the event happen outside of a backup.
func (e event) does(w *world) {
	w.t.Helper()
	if e.happen != nil {
		e.happen(w, nil)
		return
	}
	if !e.live {
		w.ok(w.host.Stop(w.t.Context(), name, time.Second))
	}
	w.ok(e.act(w))
	if e.changed != nil {
		e.changed(w)
	}
	w.running()
}

// during lets the event happen in the middle of a backup. What the driver does not
// do under a point in time it must refuse: the control plane's locks keep it from
// being asked.
func (e event) during(w *world, l *life) {
	w.t.Helper()
	if e.happen != nil {
		e.happen(w, l)
	} else if err := e.act(w); !errors.Is(err, compute.ErrBusy) && !errors.Is(err, compute.ErrState) {
		w.t.Errorf("%s under a point in time: %v", e.name, err)
	}
	if w.power() == compute.Running {
		w.write() // which this backup must not see, and the next one must
	}
}
