// Package local keeps blobs as files below one directory of this machine.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"holdfast/vault/blob"
)

// tempDir lies beside the blobs, on their file system; blob.CheckName refuses
// names that begin with a dot, so no blob can collide with it.
const tempDir = ".tmp"

// Storage is a blob.Storage in a directory. Files are 0600, directories 0700.
// Any number of processes may use the same directory.
type Storage struct{ root string }

// New opens a directory, making it if it does not exist, and removes what
// writers that died have left behind.
func New(dir string) (*Storage, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open blob directory: %w", err)
	}
	if err := makeDir(filepath.Join(abs, tempDir)); err != nil {
		return nil, fmt.Errorf("open blob directory: %w", noSpace(err))
	}
	s := &Storage{root: abs}
	return s, s.sweep()
}

// PutNew implements blob.Storage: temporary file, fsync, rename that refuses to
// replace, fsync of the directory.
func (s *Storage) PutNew(ctx context.Context, name string, data []byte) error {
	path, err := s.path(ctx, name)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("put %s: %w", name, blob.ErrExists)
	}
	t, err := s.newTemp()
	if err != nil {
		return fmt.Errorf("put %s: %w", name, noSpace(err))
	}
	err = t.write(ctx, data)
	if err == nil {
		err = t.publish(s.root, path)
	}
	if cerr := t.close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", name, noSpace(err))
	}
	return nil
}

// Get implements blob.Storage.
func (s *Storage) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	f, size, err := s.open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // opened for reading: nothing can be lost
	if size > limit {
		return nil, fmt.Errorf("get %s: %w", name, blob.ErrTooLarge)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return data, nil
}

// ReadAt implements blob.Storage.
func (s *Storage) ReadAt(ctx context.Context, name string, p []byte, off int64) error {
	f, size, err := s.open(ctx, name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // opened for reading: nothing can be lost
	if off < 0 || off > size || int64(len(p)) > size-off {
		return fmt.Errorf("read %s: %w", name, io.ErrUnexpectedEOF)
	}
	if _, err := f.ReadAt(p, off); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// Stat implements blob.Storage.
func (s *Storage) Stat(ctx context.Context, name string) (blob.Info, error) {
	path, err := s.path(ctx, name)
	if err != nil {
		return blob.Info{}, err
	}
	fi, err := os.Lstat(path)
	if err != nil {
		return blob.Info{}, fmt.Errorf("stat %s: %w", name, notFound(err))
	}
	if !fi.Mode().IsRegular() {
		return blob.Info{}, fmt.Errorf("stat %s: %w", name, blob.ErrNotFound)
	}
	return blob.Info{Name: name, Size: fi.Size()}, nil
}

// List implements blob.Storage. It reads only the directories that can hold the prefix.
func (s *Storage) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		top := ""
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			top = prefix[:i]
			if err := blob.CheckName(top); err != nil {
				yield(blob.Info{}, err)
				return
			}
		}
		if err := s.walk(ctx, top, prefix, yield); err != nil && !errors.Is(err, fs.SkipAll) {
			yield(blob.Info{}, fmt.Errorf("list %s: %w", prefix, err))
		}
	}
}

func (s *Storage) walk(ctx context.Context, top, prefix string, yield func(blob.Info, error) bool) error {
	return filepath.WalkDir(filepath.Join(s.root, top), func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // deleted while we walk
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case path == s.root:
			return nil
		}
		name := filepath.ToSlash(path[len(s.root)+1:])
		if d.IsDir() {
			if name == tempDir || !strings.HasPrefix(name+"/", prefix) && !strings.HasPrefix(prefix, name+"/") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasPrefix(name, prefix) || !d.Type().IsRegular() || blob.CheckName(name) != nil {
			return nil //nolint:nilerr // what has no blob's name is none
		}
		fi, err := d.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		}
		if !yield(blob.Info{Name: name, Size: fi.Size()}, nil) {
			return fs.SkipAll
		}
		return nil
	})
}

// Delete implements blob.Storage. It removes directories that become empty.
func (s *Storage) Delete(ctx context.Context, name string) error {
	path, err := s.path(ctx, name)
	if err != nil {
		return err
	}
	err = os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // another delete may have taken the empty directory
		return fmt.Errorf("delete %s: %w", name, err)
	}
	s.prune(filepath.Dir(path))
	return nil
}

// prune removes a directory and those above it as far as they are empty.
func (s *Storage) prune(dir string) {
	for ; dir != s.root; dir = filepath.Dir(dir) {
		if syscall.Rmdir(dir) != nil { // not empty, or gone already
			return
		}
	}
}

func (s *Storage) path(ctx context.Context, name string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err := blob.CheckName(name); err != nil {
		return "", err
	}
	return filepath.Join(s.root, filepath.FromSlash(name)), nil
}

func (s *Storage) open(ctx context.Context, name string) (*os.File, int64, error) {
	path, err := s.path(ctx, name)
	if err != nil {
		return nil, 0, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("open %s: %w", name, notFound(err))
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = blob.ErrNotFound
	}
	if err != nil {
		_ = f.Close() // opened for reading: nothing can be lost
		return nil, 0, fmt.Errorf("open %s: %w", name, err)
	}
	return f, fi.Size(), nil
}

func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("%w: %w", blob.ErrNotFound, err)
	}
	return err
}

func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", blob.ErrNoSpace, err)
	}
	return err
}
