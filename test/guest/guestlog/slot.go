// Package guestlog is the self-verifying log that the test guest writes to its
// disks: from the bytes of the disks alone it can be proved that they are an
// exact prefix of what the guest wrote, at one instant across all of them.
//
// Entry n (1, 2, 3, …) is one slot of 4 KiB, written synchronously to the first
// disk, then to the second, and so on, at slot n mod Slots of each. At every
// instant all disks therefore hold the last Slots entries up to their maximum,
// and the maxima never rise from one disk to the next nor differ by more than 1.
package guestlog

import (
	"bytes"
	"encoding/binary"
)

const (
	// SlotSize is the length of one entry in bytes, and the size of the
	// guest's write.
	SlotSize = 4096
	// Slots is how many entries a disk holds before they are overwritten.
	Slots = 4096
	// Size is how many bytes at the beginning of a disk the log occupies.
	Size = SlotSize * Slots
)

const magic = "HFGUEST1"

// entry is what a slot says about itself.
type entry struct {
	log  uint64 // identifies one log, equal on all its disks
	disk uint32 // position of the disk in the order of writing, from 0
	seq  uint64 // 1, 2, 3, …
}

// encode fills a slot. Every byte of it is determined by the entry, so that a
// torn slot differs from what it claims to be.
func (e entry) encode(slot []byte) {
	copy(slot, magic)
	binary.LittleEndian.PutUint64(slot[8:], e.seq)
	binary.LittleEndian.PutUint64(slot[16:], e.log)
	binary.LittleEndian.PutUint64(slot[24:], uint64(e.disk))
	state := e.log ^ e.seq*0x9e3779b97f4a7c15 ^ uint64(e.disk)<<32
	for at := 32; at < SlotSize; at += 8 {
		// splitmix64: incompressible, and cheap under emulation.
		state += 0x9e3779b97f4a7c15
		z := state
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(slot[at:], z^z>>31)
	}
}

// decode reads a slot; ok is false unless each byte is what the entry implies.
func decode(slot, scratch []byte) (e entry, ok bool) {
	if !bytes.HasPrefix(slot, []byte(magic)) {
		return entry{}, false
	}
	e.seq = binary.LittleEndian.Uint64(slot[8:])
	e.log = binary.LittleEndian.Uint64(slot[16:])
	e.disk = uint32(binary.LittleEndian.Uint64(slot[24:])) //nolint:gosec // a lie in the upper half fails the comparison
	e.encode(scratch)
	return e, bytes.Equal(slot, scratch)
}
