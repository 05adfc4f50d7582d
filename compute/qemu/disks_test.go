package qemu

import (
	"os"
	"testing"

	"holdfast/compute"
)

func TestDiskListOfTheGenerationCounts(t *testing.T) {
	d := newDriver(t)
	m := machine(mib)
	define(t, d, m, false)
	grown := []compute.Disk{{Name: "disk0", SizeBytes: 2 * mib, Image: "/read/once", ImageFormat: "raw"}, {Name: "disk1", SizeBytes: mib}}
	if err := d.putDisks(m.ID, current, grown); err != nil {
		t.Fatal(err)
	}
	now, err := d.load(m.ID)
	want := []compute.Disk{{Name: "disk0", SizeBytes: 2 * mib}, {Name: "disk1", SizeBytes: mib}}
	if err != nil || len(now.Disks) != 2 || now.Disks[0] != want[0] || now.Disks[1] != want[1] {
		t.Fatalf("got %+v, %v, want disks %+v", now.Disks, err, want)
	}
	if err := d.Define(t.Context(), m); err != nil {
		t.Errorf("the same definition again: %v", err)
	}
	// Whoever writes to our files cannot make a disk's name another file's.
	hostile := `[{"name":"../../other","sizeBytes":512}]`
	if err := os.WriteFile(d.file(m.ID, current+"/"+diskList), []byte(hostile), 0o600); err != nil {
		t.Fatal(err)
	}
	if now, err := d.load(m.ID); err == nil {
		t.Errorf("took %+v", now.Disks)
	}
}
