package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"holdfast/compute"
)

// Limits for qemu-img, which reads images of others.
const (
	imgMemory = 2 << 30 // bytes of address space
	imgCPU    = 1800    // seconds
	maxOutput = 1 << 20
)

// img runs qemu-img under resource limits and throws away what it says but for errors.
func (d *Driver) img(ctx context.Context, arg ...string) error {
	argv := append([]string{fmt.Sprintf("--as=%d", imgMemory), fmt.Sprintf("--cpu=%d", imgCPU), "--core=0", d.cfg.Img}, arg...)
	cmd := exec.CommandContext(ctx, "prlimit", argv...) //nolint:gosec // built from checked parts
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	cmd.Dir, cmd.WaitDelay = "/", time.Second
	// Its death with us is what we want: nothing is half done that matters.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var errOut bounded
	cmd.Stderr = &errOut
	err := cmd.Run()
	if err == nil {
		return nil
	}
	said := strings.TrimSpace(errOut.String())
	err = fmt.Errorf("qemu-img %s: %w: %.500s", arg[0], errors.Join(err, ctx.Err()), said)
	return saidNoSpace(said, err)
}

// saidNoSpace adds compute.ErrNoSpace to an error if that is what was said.
func saidNoSpace(said string, err error) error {
	if strings.Contains(said, "No space left") || strings.Contains(said, "Disk quota exceeded") {
		return fmt.Errorf("%w: %w", compute.ErrNoSpace, err)
	}
	return err
}

// bounded keeps the beginning of what is written to it.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if room := maxOutput - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
