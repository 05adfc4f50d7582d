package qemu

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"

	"holdfast/compute/qemu/qmp"
)

// watchdogAfter is when a paused guest goes on whatever we do; the promise is
// five seconds.
const watchdogAfter = 4 * time.Second

// What the watchdog and its starter say to each other, a line each.
const (
	dogReady   = "ready"
	dogRelease = "release"
	dogOK      = "ok"
	dogFired   = "fired"
)

// watchdog is the process that resumes a guest whose pauser died or hangs.
type watchdog struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// watch starts a watchdog, in a session of its own so that what kills us does
// not kill it, and returns when it is connected to the machine.
func (d *Driver) watch(ctx context.Context, socket string) (*watchdog, error) {
	argv := append(append([]string{}, d.cfg.Watchdog...), socket, d.resumeAfter.String())
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:gosec // configuration
	cmd.Env, cmd.Dir = []string{}, "/"        // it needs no secret of ours
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("qemu: watchdog: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("qemu: watchdog: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("qemu: watchdog: %w", err)
	}
	w := &watchdog{cmd: cmd, in: in, out: bufio.NewScanner(out)}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	line := w.line()
	if stop() && line == dogReady {
		return w, nil
	}
	_ = in.Close()
	_ = cmd.Process.Kill()
	return nil, errors.Join(fmt.Errorf("qemu: watchdog did not start (%.200q)", line), ctx.Err(), ignoreExit(cmd.Wait()))
}

func ignoreExit(err error) error {
	if _, exited := errors.AsType[*exec.ExitError](err); exited {
		return nil
	}
	return err
}

func (w *watchdog) line() string {
	if !w.out.Scan() {
		return ""
	}
	return w.out.Text()
}

// release sends the watchdog home. It fails when the watchdog had resumed the
// guest, because the disks are not at one instant then.
func (w *watchdog) release() error {
	_, err := io.WriteString(w.in, dogRelease+"\n")
	line := w.line()
	_ = w.in.Close()
	// It has said all that matters, and must not be found running after us.
	_ = w.cmd.Process.Kill()
	_ = w.cmd.Wait()
	if line == dogOK {
		return nil
	}
	return fmt.Errorf("qemu: the watchdog resumed the guest or died (%.200q): %w", line, errors.Join(err, errWatchdog))
}

var errWatchdog = errors.New("the point in time is not of one instant")

// RunWatchdog is the watchdog process: arg is the monitor's socket and how long
// to wait, as watch appends them to Config.Watchdog; in and out are the pipes
// to the starter. It resumes the guest when in ends or time is up, unless it
// was released before.
func RunWatchdog(arg []string, in io.Reader, out io.Writer) error {
	if len(arg) != 2 {
		return errors.New("usage: watchdog SOCKET DURATION")
	}
	after, err := time.ParseDuration(arg[1])
	if err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	q, err := qmp.Dial(ctx, arg[0])
	if err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	defer q.Close() //nolint:errcheck // never fails
	if _, err := fmt.Fprintln(out, dogReady); err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	released := make(chan bool, 1)
	go func() {
		sc := bufio.NewScanner(in)
		released <- sc.Scan() && sc.Text() == dogRelease
	}()
	select {
	case ok := <-released:
		if ok {
			_, err = fmt.Fprintln(out, dogOK)
			return err
		}
	case <-time.After(after):
	case <-q.Done():
		return errors.New("watchdog: the machine is gone")
	}
	// First the guest: the starter may be gone, and writing to it be our end.
	if err := q.Execute(ctx, "cont", nil, nil); err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	_, err = fmt.Fprintln(out, dogFired)
	return err
}
