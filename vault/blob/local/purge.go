package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"holdfast/vault/blob"
)

var _ blob.Purger = (*Storage)(nil)

// Purge implements blob.Purger: files are overwritten before they go, and what
// writers that died have left behind goes too. What snapshots of the file system
// and the disk's own layers keep is out of its reach.
func (s *Storage) Purge(ctx context.Context, prefix string) (removed int, err error) {
	if err := s.sweep(); err != nil {
		return 0, err
	}
	for round := 0; ; round++ {
		var names []string
		for info, err := range s.List(ctx, prefix) {
			if err != nil {
				return removed, err
			}
			names = append(names, info.Name)
		}
		if len(names) == 0 {
			return removed, nil
		}
		if round == maxPurges {
			return removed, fmt.Errorf("purge %s: %d blobs come back", prefix, len(names))
		}
		for _, name := range names {
			if err := s.purge(ctx, name); err != nil {
				return removed, fmt.Errorf("purge: %w", err)
			}
			removed++
		}
	}
}

// maxPurges is how often blobs that appear meanwhile are removed, too.
const maxPurges = 3

func (s *Storage) purge(ctx context.Context, name string) error {
	path, err := s.path(ctx, name)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) // #nosec G304 -- a blob's name
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = overwrite(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return s.Delete(ctx, name)
}

func overwrite(f *os.File) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	zeros := make([]byte, 64<<10)
	for left := fi.Size(); left > 0; left -= int64(len(zeros)) {
		if _, err := f.Write(zeros[:min(left, int64(len(zeros)))]); err != nil {
			return err
		}
	}
	return f.Sync()
}
