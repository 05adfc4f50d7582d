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
)

// watchdogAfter is when a paused or frozen guest goes on whatever we do; the
// promise is five seconds.
const watchdogAfter = 4 * time.Second

// What the watchdog and its starter say to each other, a line each. The starter
// asks for a freeze, which is answered by frozen, or by open and why; then for
// its release, which is answered by ok or fired, and, after a freeze, by thawed
// or thawing.
const (
	dogReady   = "ready"
	dogFreeze  = "freeze"
	dogFrozen  = "frozen"
	dogOpen    = "open " // and the reason
	dogRelease = "release"
	dogOK      = "ok"
	dogFired   = "fired"
	dogThawed  = "thawed"  // all that was frozen until now
	dogThawing = "thawing" // it stays until the guest has thawed
)

// watchdog is the process that resumes and thaws a guest whose pauser died or
// hangs. Only it talks to the guest agent, whose channel serves one client: what
// is frozen is known in one place, and that survives us.
type watchdog struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	asked bool // for a freeze
}

// watch starts a watchdog, in a session of its own so that what kills us does
// not kill it, and returns when it is connected to the machine.
func (d *Driver) watch(ctx context.Context, id string) (*watchdog, error) {
	argv := append(append([]string{}, d.cfg.Watchdog...),
		d.socket(id, socketWatchdog), d.resumeAfter.String(), d.socket(id, socketAgent))
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

// ask asks for the guest's file systems to be frozen.
func (w *watchdog) ask() {
	w.asked = true
	_, _ = io.WriteString(w.in, dogFreeze+"\n") // the answer tells
}

// frozen waits for the answer: "" when they are, else why not. The watchdog
// bounds the time.
func (w *watchdog) frozen() (why string) {
	line := w.line()
	if line == dogFrozen {
		return ""
	}
	if why, ok := strings.CutPrefix(line, dogOpen); ok && why != "" {
		return strings.ToValidUTF8(why[:min(len(why), 512)], "")
	}
	return "the watchdog died"
}

// release sends the watchdog home, and says whether the guest's file systems
// had been frozen until now. It fails when the watchdog had resumed the guest,
// because the disks are not at one instant then, and with errUnthawed when it
// died without a word of the thaw.
func (w *watchdog) release() (thawed bool, err error) {
	_, err = io.WriteString(w.in, dogRelease+"\n")
	said := w.line()
	after := ""
	if w.asked {
		after = w.line()
	}
	_ = w.in.Close()
	if after == dogThawing {
		go func() { _ = w.cmd.Wait() }() // reaps it, if we live that long
	} else {
		// It has said all that matters, and must not be found running after us.
		_ = w.cmd.Process.Kill()
		_ = w.cmd.Wait()
	}
	if said == dogOK {
		err = nil
	} else {
		err = fmt.Errorf("qemu: the watchdog resumed the guest or died (%.200q): %w", said, errors.Join(err, errWatchdog))
	}
	if w.asked && after == "" {
		err = errors.Join(err, errUnthawed)
	}
	return after == dogThawed, err
}

var (
	errWatchdog = errors.New("the point in time is not of one instant")
	errUnthawed = errors.New("qemu: the watchdog died before the guest had thawed")
)
