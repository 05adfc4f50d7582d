package keys

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	masterHeader  = "holdfast master key v1"
	masterCheck   = "holdfast 2026 v1 master key check value"
	masterMaxFile = 4096
)

var (
	// ErrMode says that a key file can be read by others than its owner.
	ErrMode = errors.New("key file must be a regular file of mode 0600 or 0400")
	// ErrKeyFile says that a key file does not hold a key.
	ErrKeyFile = errors.New("key file is damaged")
)

// MasterKey wraps every account's key. It lies in a file outside all vaults, or
// comes from a key service.
type MasterKey struct{ secret }

// NewMasterKey draws a random master key.
func NewMasterKey() MasterKey { return MasterKey{newSecret()} }

// Check is a value that names the key without revealing it. Kept beside what the
// key wraps, it refuses a start with another key.
func (k MasterKey) Check() string {
	sum := k.derive(masterCheck)
	return hex.EncodeToString(sum[:16])
}

// Verify is ErrWrongKey unless check came from this very key.
func (k MasterKey) Verify(check string) error {
	if k.IsZero() || k.Check() != check {
		return fmt.Errorf("master key: %w", ErrWrongKey)
	}
	return nil
}

// CreateMasterKey draws a key and writes it to a new file of mode 0600, durably.
// A file that exists is fs.ErrExist and left alone.
func CreateMasterKey(path string) (MasterKey, error) {
	k := NewMasterKey()
	text := masterHeader + "\n" + printKey(masterHeader, k.secret) + "\n"
	if err := writeNew(path, []byte(text)); err != nil {
		return MasterKey{}, fmt.Errorf("create master key: %w", err)
	}
	return k, nil
}

// LoadMasterKey reads a file made by CreateMasterKey. It refuses a file that
// others may read (ErrMode), a damaged one (ErrKeyFile), and a missing one
// (fs.ErrNotExist).
func LoadMasterKey(path string) (MasterKey, error) {
	text, err := readPrivate(path)
	if err != nil {
		return MasterKey{}, fmt.Errorf("load master key: %w", err)
	}
	defer clear(text)
	k, ok := parseMaster(text)
	if !ok {
		return MasterKey{}, fmt.Errorf("load master key: %w", ErrKeyFile)
	}
	return k, nil
}

// parseMaster reads a key as CreateMasterKey writes it.
func parseMaster(text []byte) (MasterKey, bool) {
	head, body, ok := bytes.Cut(text, []byte("\n"))
	if !ok || strings.TrimSpace(string(head)) != masterHeader {
		return MasterKey{}, false
	}
	key, err := parseKey(masterHeader, string(body))
	return MasterKey{key}, err == nil && !key.IsZero()
}

func readPrivate(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // opened for reading: nothing can be lost
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() || fi.Mode().Perm()&0o177 != 0 {
		return nil, fmt.Errorf("%w: %s is %v", ErrMode, path, fi.Mode())
	}
	return io.ReadAll(io.LimitReader(f, masterMaxFile))
}

// writeNew makes a whole file appear at once under a name that must be free.
func writeNew(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if rerr := os.Remove(f.Name()); err == nil {
			err = rerr
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
