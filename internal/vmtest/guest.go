// Package vmtest is what tests with real virtual machines share: the built test
// guest, free ports, waiting for a guest's HTTP, the check of its log, and proof
// that nothing was left behind.
package vmtest

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Image is the built test guest: what a machine boots from. The files are
// shared by all tests and must not be written.
type Image struct {
	Kernel string
	Initrd string
	// Root is the root disk, qcow2.
	Root string
	// Cmdline is the kernel's command line; append " hostname=NAME".
	Cmdline string
}

// Ready is what the guest prints on its serial console once it serves HTTP.
const Ready = "GUEST-READY"

// Guest builds the test guest into build/guest of the checkout, or finds it
// built. A missing tool fails the test and names the command that installs it.
func Guest(t testing.TB) Image {
	t.Helper()
	require(t, "qemu-system-x86_64", "qemu-system-x86")
	require(t, "qemu-img", "qemu-utils")
	root := checkout(t)
	out := filepath.Join(root, "build", "guest")
	// The script holds a lock while it builds: parallel test binaries wait.
	build := exec.CommandContext(t.Context(), filepath.Join(root, "test", "guest", "build.sh"), out) //nolint:gosec // our own script
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the test guest: %v\n%s", err, text)
	}
	return Image{
		Kernel:  filepath.Join(out, "vmlinuz"),
		Initrd:  filepath.Join(out, "initrd.img"),
		Root:    filepath.Join(out, "root.qcow2"),
		Cmdline: "console=ttyS0 quiet panic=-1",
	}
}

// require fails the test when a program is missing.
func require(t testing.TB, program, debianPackage string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("%s is missing; run: apt-get install --no-install-recommends %s", program, debianPackage)
	}
}

// checkout is the directory of go.mod.
func checkout(t testing.TB) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		// Built with -trimpath: ask the go command.
		gomod, err := exec.CommandContext(t.Context(), "go", "env", "GOMOD").Output()
		if err != nil {
			t.Fatalf("find the checkout: %v", err)
		}
		return filepath.Dir(strings.TrimSpace(string(gomod)))
	}
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}
