package index

import (
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// mapping is a part of a file, mapped to be read. It ends when nothing refers to
// it any more.
type mapping struct{ data []byte }

// mapFile maps a file between two offsets.
func mapFile(f *os.File, from, to int64) (*mapping, error) {
	skip := from % int64(os.Getpagesize())
	all, err := unix.Mmap(int(f.Fd()), from-skip, int(to-from+skip), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	m := &mapping{all[skip:]}
	runtime.AddCleanup(m, func(all []byte) { _ = unix.Munmap(all) }, all)
	return m, nil
}

// sum is the checksum of a copy, or 0 if the disk fails below the mapping.
func (m *mapping) sum(head, filter []byte) (sum uint32) {
	defer runtime.KeepAlive(m)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			if _, fault := r.(interface{ Addr() uintptr }); !fault {
				panic(r)
			}
			sum = 0
		}
	}()
	return checksum(head, filter)
}
