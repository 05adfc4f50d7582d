package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/compute/qemu/qmp"
)

// daemon is a hypervisor process to start: it outlives us, in a session of its
// own, and has nothing of ours but its log.
type daemon struct {
	argv   []string
	log    string // path of what it says
	record string // path of the file that remembers the process
	socket string // its monitor
}

// startTimeout is how long a daemon may take until its monitor answers.
const startTimeout = 30 * time.Second

// spawn starts a daemon and returns when its monitor answers. If it does not
// come to that, nothing is left of it.
func (d *Driver) spawn(ctx context.Context, dm daemon) (*session, error) {
	log, err := os.OpenFile(dm.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("qemu: %w", err)
	}
	defer log.Close()                               //nolint:errcheck // the daemon has its own
	cmd := exec.Command(dm.argv[0], dm.argv[1:]...) //nolint:gosec // built from checked parts
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if u := d.cfg.User; u != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: u.UID, Gid: u.GID, NoSetGroups: false}
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("qemu: %w", err)
	}
	proc, alive := identify(cmd.Process.Pid)
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // reaps it, if we live that long
	}()
	s, err := d.greet(ctx, dm, proc, alive, exited)
	if err == nil {
		return s, nil
	}
	_ = cmd.Process.Kill()
	<-exited
	return nil, errors.Join(fmt.Errorf("qemu: %s did not start: %w%s", dm.argv[0], err, tailOf(dm.log)),
		removeAll(dm.record, dm.socket))
}

func (d *Driver) greet(ctx context.Context, dm daemon, proc process, alive bool, exited <-chan struct{}) (*session, error) {
	if alive {
		d.remember(dm.record, proc)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		s, err := dialSession(ctx, dm.socket, proc)
		if err == nil || ctx.Err() != nil || !socketPending(err) {
			return s, err
		}
		// Sockets appear without an event that needs no watch of the directory.
		select {
		case <-exited:
			return nil, errors.New("it ended at once")
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(3 * time.Millisecond):
		}
	}
}

func socketPending(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, qmp.ErrClosed)
}

// dialPeer connects to a socket and makes sure that the process listens there,
// so that no process can pass another's socket off as its own.
func dialPeer(ctx context.Context, socket string, want process) (net.Conn, error) {
	var nd net.Dialer
	c, err := nd.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	pid, err := peerPID(c)
	if err == nil && want.PID != pid {
		err = fmt.Errorf("qemu: process %d listens at %s, not %d", pid, socket, want.PID)
	}
	if err == nil && !want.alive() {
		err = fmt.Errorf("qemu: process %d is gone: %w", pid, syscall.ECONNRESET)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func peerPID(c net.Conn) (int, error) {
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var cerr error
	if err := raw.Control(func(fd uintptr) {
		cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if cerr != nil {
		return 0, cerr
	}
	return int(cred.Pid), nil
}

// tailOf is the end of what a daemon said, for an error message.
func tailOf(path string) string {
	b, err := readTail(path, 2048)
	if err != nil || len(b) == 0 {
		return ""
	}
	return ": " + strings.TrimSpace(string(b))
}

func removeAll(paths ...string) error {
	var errs []error
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// readJSON leaves v alone when there is no such file.
func readJSON(path string, v any) (found bool, err error) {
	b, err := os.ReadFile(path) //nolint:gosec // paths of checked ids
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return false, fmt.Errorf("qemu: %s: %w", path, err)
	}
	return true, nil
}
