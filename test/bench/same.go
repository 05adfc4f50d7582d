package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// same compares the disk with the only file of its name below a directory.
func same(disk, below string) error {
	found := ""
	err := filepath.WalkDir(below, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && e.Name() == filepath.Base(disk) {
			found = path
		}
		return err
	})
	if err != nil {
		return err
	}
	if found == "" {
		return errors.New("nothing was restored")
	}
	want, err := os.Open(disk) //nolint:gosec // the benchmark's own file
	if err != nil {
		return err
	}
	defer func() { _ = want.Close() }() // opened for reading
	got, err := os.Open(found)          //nolint:gosec // the benchmark's own file
	if err != nil {
		return err
	}
	defer func() { _ = got.Close() }() // opened for reading
	return sameBytes(want, got)
}

func sameBytes(want, got io.Reader) error {
	a, b := make([]byte, 1<<20), make([]byte, 1<<20)
	for off := int64(0); ; {
		n, err := io.ReadFull(want, a)
		m, gerr := io.ReadFull(got, b)
		if !bytes.Equal(a[:n], b[:m]) {
			return fmt.Errorf("what was restored differs in the MiB at %d", off)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil || gerr != nil {
			return errors.Join(err, gerr)
		}
		off += int64(n)
	}
}
