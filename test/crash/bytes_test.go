package crash

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// written is how many bytes the service's process has written so far, to files
// and sockets: the vault's, and a little for everything else, so that what is
// found to be wasted is never too little. A pack that still waits for its turn
// under the limit of the vault's rate is not in it, for nothing of it was sent.
func (w *world) written(t *testing.T) int64 {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/io", w.PID()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // read only
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if value, ok := strings.CutPrefix(sc.Text(), "wchar: "); ok {
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("the kernel does not count what processes write")
	return 0
}

// vaultBytes is the size of the blobs in the vaults: what a successor takes
// over. What a killed writer left unfinished beside them is not.
func (w *world) vaultBytes(t *testing.T) int64 {
	t.Helper()
	var n int64
	err := filepath.WalkDir(w.Site(), func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // published or deleted meanwhile
			return nil
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// freeze stops the service's process as SIGSTOP does.
func (w *world) freeze(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(w.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for stat := ""; !strings.Contains(stat, ") T "); {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.PID()))
		if err != nil {
			t.Fatal(err)
		}
		stat = string(b)
	}
}
