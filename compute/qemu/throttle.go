package qemu

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"holdfast/compute"
	"holdfast/compute/qemu/qmp"
)

// throttleGroup is shared by all disks of a machine, so that a limit is of the
// machine's writes and not of each disk's.
const throttleGroup = "holdfast"

// dogUnthrottle as the first argument makes the watchdog a guard of a throttle.
const dogUnthrottle = "unthrottle"

// throttle limits what the guest writes, in bytes per second, or frees it with 0
// (block_set_io_throttle).
func throttle(ctx context.Context, q *qmp.Client, disks []string, bytesPerSecond int64) error {
	for _, name := range disks {
		a := args{
			"id": diskDevice(name), "bps": 0, "bps_rd": 0, "bps_wr": bytesPerSecond,
			"iops": 0, "iops_rd": 0, "iops_wr": 0,
		}
		if bytesPerSecond > 0 {
			a["group"] = throttleGroup
		}
		if err := q.Execute(ctx, "block_set_io_throttle", a, nil); err != nil {
			return err
		}
	}
	return nil
}

func diskNamesOf(m compute.Machine) []string {
	var all []string
	for _, dk := range m.Disks {
		all = append(all, dk.Name)
	}
	return all
}

// limitWrites keeps the guest's writes below a limit until freeWrites, or until
// this process is gone: its guard, which is there before the limit, frees the
// guest then.
func (d *Driver) limitWrites(ctx context.Context, s *session, m compute.Machine, bytesPerSecond int64) error {
	if old := d.swapGuard(m.ID, nil); old != nil {
		d.swapGuard(m.ID, old)
	} else if g, err := d.guardThrottle(ctx, m); err != nil {
		return err
	} else {
		d.swapGuard(m.ID, g)
	}
	return throttle(ctx, s.Client, diskNamesOf(m), bytesPerSecond)
}

// freeWrites ends the limit; s is nil when there is no hypervisor any more.
func (d *Driver) freeWrites(ctx context.Context, s *session, m compute.Machine) error {
	if s != nil {
		// Its guard stays when that fails.
		if err := throttle(ctx, s.Client, diskNamesOf(m), 0); err != nil {
			return err
		}
	}
	if g := d.swapGuard(m.ID, nil); g != nil {
		g.release()
	}
	return nil
}

// swapGuard replaces a machine's guard, and returns the one before. The caller
// has the machine's lock.
func (d *Driver) swapGuard(id string, g *guard) (before *guard) {
	d.guardsMu.Lock()
	defer d.guardsMu.Unlock()
	before = d.guards[id]
	if d.guards == nil {
		d.guards = map[string]*guard{}
	}
	if delete(d.guards, id); g != nil {
		d.guards[id] = g
	}
	return before
}

// guard is the watchdog process of a throttle: it ends the throttle when its
// starter is gone. It keeps no conversation with the machine until then.
type guard struct {
	cmd *exec.Cmd
	in  io.WriteCloser
}

func (d *Driver) guardThrottle(ctx context.Context, m compute.Machine) (*guard, error) {
	argv := append(append([]string{}, d.cfg.Watchdog...), dogUnthrottle, d.socket(m.ID, socketWatchdog), strings.Join(diskNamesOf(m), ","))
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:gosec // configuration, and checked names
	cmd.Env, cmd.Dir = []string{}, "/"        // it needs no secret of ours
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("qemu: throttle's guard: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("qemu: throttle's guard: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("qemu: throttle's guard: %w", err)
	}
	g := &guard{cmd: cmd, in: in}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	said := bufio.NewScanner(out)
	ready := said.Scan() && said.Text() == dogReady
	if stop() && ready {
		return g, nil
	}
	g.release()
	return nil, errors.Join(errors.New("qemu: throttle's guard did not start"), ctx.Err())
}

// release ends the guard, which does nothing more.
func (g *guard) release() {
	_ = g.cmd.Process.Kill()
	_ = g.in.Close()
	_ = g.cmd.Wait() // it was killed
}

// unthrottle is the guard's own process: when in ends, it frees the guest. The
// socket may serve another conversation for some seconds, and be gone with its
// machine.
func unthrottle(socket, disks string, in io.Reader, out io.Writer) error {
	if _, err := fmt.Fprintln(out, dogReady); err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	q, err := qmp.Dial(ctx, socket)
	if err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	defer q.Close() //nolint:errcheck // never fails
	if err := throttle(ctx, q, strings.Split(disks, ","), 0); err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	return nil
}
