package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"holdfast/disk"
)

// Sink is a sparse raw file being filled. It is safe for concurrent use on
// ranges that do not overlap.
type Sink struct {
	file *os.File
	size int64
}

var _ disk.Sink = (*Sink)(nil)

// Create makes the file at path, which must not exist, as size bytes of holes,
// readable by its owner alone.
func Create(path string, size int64) (*Sink, error) {
	if size < 0 {
		return nil, fmt.Errorf("file: size %d", size)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the caller's path
	if err != nil {
		return nil, writeError(err)
	}
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(writeError(err), f.Close(), os.Remove(path))
	}
	return &Sink{file: f, size: size}, nil
}

// OpenSink opens the existing regular file at path to go on filling it.
func OpenSink(path string) (*Sink, error) {
	f, err := openRegular(path, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Sink{file: f, size: info.Size()}, nil
}

// Size of the disk in bytes.
func (s *Sink) Size() int64 { return s.size }

// WriteAt writes all of p or fails; a full file system is disk.ErrNoSpace.
func (s *Sink) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || int64(len(p)) > s.size-off {
		return 0, fmt.Errorf("file: write of %d bytes at %d is outside a disk of %d", len(p), off, s.size)
	}
	n, err := s.file.WriteAt(p, off)
	return n, writeError(err)
}

// Sync makes the data durable, and the file's name too.
func (s *Sink) Sync(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return writeError(err)
	}
	directory, err := os.Open(filepath.Dir(s.file.Name()))
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// Close closes the file.
func (s *Sink) Close() error { return writeError(s.file.Close()) }

// writeError names a full file system, quota or file size limit by our
// sentinel; the cause stays in the chain.
func writeError(err error) error {
	for _, full := range []unix.Errno{unix.ENOSPC, unix.EDQUOT, unix.EFBIG} {
		if errors.Is(err, full) {
			return fmt.Errorf("%w: %w", disk.ErrNoSpace, err)
		}
	}
	return err
}
