package qemu

import "holdfast/compute"

// Places on the machine's PCI bus. A guest names its network card by its place, so
// that must not move when disks are added or removed. The random number source
// comes first, then the disks that the machine was defined with, its network card,
// the channel to the guest agent, and then what disks were added later.
const (
	firstSlot = 1
	lastSlot  = 30 // the chipset has the next one
)

// slots are the places of a machine's devices.
type slots struct {
	rng, nic, serial int
	disks            []int // in the order of the machine's
}

func slotsOf(defined, disks []compute.Disk) slots {
	s := slots{rng: firstSlot, nic: firstSlot + 1 + len(defined)}
	s.serial = s.nic + 1
	taken := map[int]bool{s.rng: true, s.nic: true, s.serial: true}
	for _, dk := range disks {
		at := 0
		if i := diskAt(defined, dk.Name); i >= 0 {
			at = firstSlot + 1 + i
			taken[at] = true
		}
		s.disks = append(s.disks, at)
	}
	next := s.serial + 1
	for i, at := range s.disks {
		if at != 0 {
			continue
		}
		for ; taken[next] || next > lastSlot; next++ {
			if next > lastSlot {
				next = firstSlot // what disks were removed have left room
			}
		}
		s.disks[i], taken[next] = next, true
	}
	return s
}
