package qemu

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"holdfast/compute"
)

func disksNamed(names ...string) []compute.Disk {
	var disks []compute.Disk
	for _, n := range names {
		disks = append(disks, compute.Disk{Name: n, SizeBytes: mib})
	}
	return disks
}

// Places of a machine that was never reshaped are those in which QEMU itself puts
// devices in the order of the command line: guests of before keep theirs.
func TestSlotsOfAMachineAsDefined(t *testing.T) {
	got := slotsOf(disksNamed("disk0", "disk1"), disksNamed("disk0", "disk1"))
	if got.rng != 1 || !slices.Equal(got.disks, []int{2, 3}) || got.nic != 4 || got.serial != 5 {
		t.Errorf("got %+v", got)
	}
	got = slotsOf(disksNamed("disk0", "disk1"), disksNamed("disk0", "disk2", "disk3"))
	if !slices.Equal(got.disks, []int{2, 6, 7}) || got.nic != 4 || got.serial != 5 {
		t.Errorf("reshaped: %+v", got)
	}
}

// Whatever disks come and go, no two devices share a place, and the card keeps its.
func TestSlotsNeverMeet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.Map(rapid.IntRange(0, 40), func(i int) string { return fmt.Sprint("disk", i) })
		list := rapid.SliceOfNDistinct(name, 1, maxDisks, rapid.ID[string])
		defined, disks := disksNamed(list.Draw(t, "defined")...), disksNamed(list.Draw(t, "disks")...)
		got := slotsOf(defined, disks)
		if want := slotsOf(defined, defined); got.rng != want.rng || got.nic != want.nic || got.serial != want.serial {
			t.Fatalf("moved: %+v, was %+v", got, want)
		}
		all := append([]int{got.rng, got.nic, got.serial}, got.disks...)
		slices.Sort(all)
		if len(slices.Compact(all)) != len(disks)+3 || all[0] < firstSlot || all[len(all)-1] > lastSlot {
			t.Fatalf("%+v", got)
		}
	})
}
