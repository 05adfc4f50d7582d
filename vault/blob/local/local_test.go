package local_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/vault/blob"
	"holdfast/vault/blob/blobtest"
	"holdfast/vault/blob/local"
)

func open(t *testing.T, dir string) *local.Storage {
	t.Helper()
	st, err := local.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestConformance(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Storage { return open(t, t.TempDir()) })
}

func temps(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, ".tmp"))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "vault")
	if err := open(t, dir).PutNew(t.Context(), "a/b", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{"": 0o700, "a": 0o700, ".tmp": 0o700, "a/b": 0o600} {
		fi, err := os.Stat(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().Perm() != want {
			t.Errorf("%q has mode %v", path, fi.Mode())
		}
	}
}

// A writer's failure, here a lost race and a cancellation, leaves no file behind.
func TestNoTemporaryFilesStay(t *testing.T) {
	dir := t.TempDir()
	st := open(t, dir)
	if err := st.PutNew(t.Context(), "a", make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := st.PutNew(t.Context(), "a/b", nil); err == nil {
		t.Error("a blob below a blob was stored")
	}
	if err := st.PutNew(t.Context(), "a", nil); !errors.Is(err, blob.ErrExists) {
		t.Errorf("second put: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := st.PutNew(ctx, "c", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled put: %v", err)
	}
	if n := temps(t, dir); n != 0 {
		t.Errorf("%d temporary files", n)
	}
}

// The files of the dead go, those of the living stay: the lock tells.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	dead, alive := filepath.Join(dir, ".tmp", "dead"), filepath.Join(dir, ".tmp", "alive")
	for _, path := range []string{dead, alive} {
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(alive)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if _, err := os.Stat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the dead writer's file: %v", err)
	}
	if _, err := os.Stat(alive); err != nil {
		t.Errorf("the living writer's file: %v", err)
	}
}

// A hostile or careless neighbour may leave links and odd files in the directory:
// they are no blobs, and are not followed.
func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	st := open(t, dir)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "fifo"} {
		if data, err := st.Get(t.Context(), name, 100); err == nil {
			t.Errorf("%s was read: %q", name, data)
		}
		if err := st.PutNew(t.Context(), name, nil); !errors.Is(err, blob.ErrExists) {
			t.Errorf("%s was replaced: %v", name, err)
		}
	}
	for info, err := range st.List(t.Context(), "") {
		t.Errorf("listed: %v %v", info, err)
	}
}

// fullStorage opens a storage on a file system of 256 KiB, in a user namespace of
// a child process, which runs this test binary again.
func TestFullDisk(t *testing.T) {
	if dir := os.Getenv("HOLDFAST_TEST_FULL"); dir != "" {
		onFullDisk(t, dir)
		return
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), "HOLDFAST_TEST_FULL="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("child: %v (it needs user namespaces: sysctl kernel.unprivileged_userns_clone=1)\n%s", err, out)
	}
}

func onFullDisk(t *testing.T, dir string) {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k,mode=700"); err != nil {
		t.Fatal(err)
	}
	st := open(t, dir)
	if err := st.PutNew(t.Context(), "keep/a", make([]byte, 64<<10)); err != nil {
		t.Fatal(err)
	}
	if err := st.PutNew(t.Context(), "packs/big", make([]byte, 1<<20)); !errors.Is(err, blob.ErrNoSpace) {
		t.Errorf("put on a full disk: %v", err)
	}
	if n := temps(t, dir); n != 0 {
		t.Errorf("%d temporary files", n)
	}
	fill := filepath.Join(dir, "fill")
	if err := os.WriteFile(fill, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	if err := st.Delete(t.Context(), "keep/a"); err != nil {
		t.Errorf("delete on a full disk: %v", err)
	}
	if err := st.PutNew(t.Context(), "tombstones/a", nil); err != nil {
		t.Errorf("put after room was made: %v", err)
	}
}
