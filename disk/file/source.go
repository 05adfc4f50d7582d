// Package file reads and fills disks that are sparse raw files.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"golang.org/x/sys/unix"

	"holdfast/disk"
)

// Source is a raw file that nobody writes while it is open; its holes are zero
// extents. It is safe for concurrent use.
type Source struct {
	file *os.File
	size int64
}

var _ disk.Source = (*Source)(nil)

// Open opens the raw file at path, a regular file: a symbolic link, a device or
// a pipe there is refused, for the directory may be a customer's.
func Open(path string) (*Source, error) {
	f, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Source{file: f, size: info.Size()}, nil
}

// openRegular opens an existing regular file, and waits for nothing.
func openRegular(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) //nolint:gosec // the caller's path
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Size of the file in bytes.
func (s *Source) Size() int64 { return s.size }

// ReadAt reads the file.
func (s *Source) ReadAt(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if off >= s.size {
		return 0, io.EOF
	}
	return s.file.ReadAt(p, off)
}

// Extents covers the file, by what the file system says about its holes. None
// is Clean.
func (s *Source) Extents(ctx context.Context) iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) {
		for at := int64(0); at < s.size; {
			data, end, err := s.nextData(ctx, at)
			if err != nil {
				yield(disk.Extent{}, err)
				return
			}
			if data > at && !yield(disk.Extent{Offset: at, Length: data - at, Zero: true}, nil) {
				return
			}
			if end > data && !yield(disk.Extent{Offset: data, Length: end - data}, nil) {
				return
			}
			at = end
		}
	}
}

// nextData is the first range of data at or behind at, or an empty one at the
// file's end. A seek moves no state that anything else here uses.
func (s *Source) nextData(ctx context.Context, at int64) (start, end int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	start, err = s.file.Seek(at, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return s.size, s.size, nil
	}
	if errors.Is(err, unix.EINVAL) { // a file system without holes
		return at, s.size, nil
	}
	if err != nil {
		return 0, 0, err
	}
	end, err = s.file.Seek(start, unix.SEEK_HOLE)
	if err != nil {
		return 0, 0, err
	}
	return min(start, s.size), min(end, s.size), nil
}

// Discard checks the range and keeps the file as it is: it is the only copy.
func (s *Source) Discard(ctx context.Context, offset, length int64) error {
	if offset < 0 || length < 0 || length > s.size-offset {
		return fmt.Errorf("file: discard of %d bytes at %d is outside a disk of %d", length, offset, s.size)
	}
	return ctx.Err()
}

// Close closes the file.
func (s *Source) Close() error { return s.file.Close() }
