// Package mem keeps blobs in memory, for tests and as the model of blob.Storage.
package mem

import (
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"holdfast/vault/blob"
)

// Storage is a blob.Storage in memory. The zero value is empty and ready.
type Storage struct {
	mu    sync.RWMutex
	blobs map[string][]byte
}

// New returns an empty storage.
func New() *Storage { return &Storage{} }

// PutNew implements blob.Storage.
func (s *Storage) PutNew(ctx context.Context, name string, data []byte) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.blobs[name]; ok {
		return fmt.Errorf("put %s: %w", name, blob.ErrExists)
	}
	if s.blobs == nil {
		s.blobs = map[string][]byte{}
	}
	s.blobs[name] = slices.Clone(data)
	return nil
}

// Get implements blob.Storage.
func (s *Storage) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	data, err := s.find(ctx, name)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("get %s: %w", name, blob.ErrTooLarge)
	}
	return slices.Clone(data), nil
}

// ReadAt implements blob.Storage.
func (s *Storage) ReadAt(ctx context.Context, name string, p []byte, off int64) error {
	data, err := s.find(ctx, name)
	if err != nil {
		return err
	}
	if off < 0 || off > int64(len(data)) || copy(p, data[off:]) < len(p) {
		return fmt.Errorf("read %s: %w", name, io.ErrUnexpectedEOF)
	}
	return nil
}

// Stat implements blob.Storage.
func (s *Storage) Stat(ctx context.Context, name string) (blob.Info, error) {
	data, err := s.find(ctx, name)
	if err != nil {
		return blob.Info{}, err
	}
	return blob.Info{Name: name, Size: int64(len(data))}, nil
}

// List implements blob.Storage.
func (s *Storage) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(blob.Info{}, err)
			return
		}
		for _, info := range s.infos(prefix) {
			if !yield(info, nil) {
				return
			}
		}
	}
}

// Delete implements blob.Storage.
func (s *Storage) Delete(ctx context.Context, name string) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.blobs, name)
	return nil
}

// Tamper replaces a stored blob's bytes by what change returns, as damage or an
// attacker would; nil removes the blob. It reports whether the blob was there.
func (s *Storage) Tamper(name string, change func([]byte) []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.blobs[name]
	if !ok {
		return false
	}
	if data = change(slices.Clone(data)); data == nil {
		delete(s.blobs, name)
	} else {
		s.blobs[name] = data
	}
	return true
}

// Clone returns an independent copy of the storage as it is now.
func (s *Storage) Clone() *Storage {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return &Storage{blobs: maps.Clone(s.blobs)} // stored bytes are never changed in place
}

func (s *Storage) find(ctx context.Context, name string) ([]byte, error) {
	if err := check(ctx, name); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	data, ok := s.blobs[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, blob.ErrNotFound)
	}
	return data, nil
}

func (s *Storage) infos(prefix string) []blob.Info {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []blob.Info
	for name, data := range s.blobs {
		if strings.HasPrefix(name, prefix) {
			all = append(all, blob.Info{Name: name, Size: int64(len(data))})
		}
	}
	slices.SortFunc(all, func(a, b blob.Info) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func check(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return blob.CheckName(name)
}
