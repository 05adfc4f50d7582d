package file

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/disk"
	"holdfast/disk/disktest"
)

func TestSourceConforms(t *testing.T) {
	disktest.TestSource(t, disktest.Sources{
		Open: func(t *testing.T, f disktest.SourceFixture) disk.Source {
			path := filepath.Join(t.TempDir(), "disk")
			sink, err := Create(path, int64(len(f.Image)))
			if err != nil {
				t.Fatal(err)
			}
			const step = 4096
			zeros := make([]byte, step)
			for at := 0; at < len(f.Image); at += step {
				if piece := f.Image[at:][:step]; string(piece) != string(zeros) {
					if _, err := sink.WriteAt(piece, int64(at)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := sink.Close(); err != nil {
				t.Fatal(err)
			}
			s, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
	})
}

func TestSinkConforms(t *testing.T) {
	disktest.TestSink(t, disktest.Sinks{
		Create: func(t *testing.T, size int64) (disk.Sink, func(*testing.T) []byte) {
			path := filepath.Join(t.TempDir(), "disk")
			s, err := Create(path, size)
			if err != nil {
				t.Fatal(err)
			}
			return s, func(t *testing.T) []byte {
				content, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				return content
			}
		},
	})
}

func TestSparseDiskOfTwoTebibytesIsCheap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	const size = 2 << 40
	sink, err := Create(path, size)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.WriteAt([]byte("far out"), size-7); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var data int64
	for e, err := range s.Extents(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if !e.Zero {
			data += e.Length
		}
	}
	if data == 0 || data > 1<<20 {
		t.Errorf("%d bytes of data, want one block", data)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesWhatIsNoRegularFile(t *testing.T) {
	dir := t.TempDir()
	pipe, link, regular := filepath.Join(dir, "pipe"), filepath.Join(dir, "link"), filepath.Join(dir, "regular")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(regular, []byte("secret of another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(regular, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, link, dir, "/dev/null"} {
		if _, err := Open(path); err == nil {
			t.Errorf("%s was opened to read", path)
		}
		if _, err := OpenSink(path); err == nil {
			t.Errorf("%s was opened to write", path)
		}
	}
	if _, err := Create(regular, 1); !errors.Is(err, os.ErrExist) {
		t.Errorf("an existing file was created anew: %v", err)
	}
}

func TestFullFileSystemIsNoSpace(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &Sink{file: full, size: 1 << 20}
	if _, err := s.WriteAt([]byte("x"), 0); !errors.Is(err, disk.ErrNoSpace) || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenSinkGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	for _, part := range []struct {
		text string
		off  int64
		open func() (*Sink, error)
	}{
		{"one", 0, func() (*Sink, error) { return Create(path, 6) }},
		{"two", 3, func() (*Sink, error) { return OpenSink(path) }},
	} {
		s, err := part.open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.WriteAt([]byte(part.text), part.off); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "onetwo" {
		t.Fatalf("got %q, %v", got, err)
	}
}
