//go:build vm

package matrix

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/compute/qemu"
	"holdfast/compute/qemu/qmp"
	"holdfast/internal/vmtest"
)

// labs are the kinds of hosts, by the name of their driver.
var labs = map[string]func(*testing.T) lab{"sim": newSim, "qemu": newQEMU}

// The watchdog is this program called again, as in the real one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "watchdog" {
		if err := qemu.RunWatchdog(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// qemuLab has machines without an operating system: they sit in their firmware,
// and their guests' writes are made in the hypervisor, on the device's way.
type qemuLab struct {
	t    *testing.T
	cfg  qemu.Config
	host *qemu.Driver
}

func newQEMU(t *testing.T) lab {
	dir, err := os.MkdirTemp("/tmp", "hf") // sockets need a short path
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		vmtest.NoStrays(t, dir+"/")
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return &qemuLab{t: t, cfg: qemu.Config{
		Root: dir + "/vm", Run: dir + "/run", Scratch: dir + "/scratch", Accelerator: "tcg", Watchdog: []string{self, "watchdog"},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}}
}

func (l *qemuLab) Open() (hypervisor, error) {
	if l.host != nil {
		if err := l.host.Close(); err != nil {
			return nil, err
		}
	}
	var err error
	l.host, err = qemu.New(l.cfg)
	return l.host, err
}

// monitor has a conversation by the watchdog's monitor, which is free but while a
// point in time is being taken.
func (l *qemuLab) monitor(machine string, f func(context.Context, *qmp.Client) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	q, err := qmp.Dial(ctx, filepath.Join(l.cfg.Run, machine, "dog"))
	if err != nil {
		return err
	}
	defer q.Close() //nolint:errcheck // never fails
	return f(ctx, q)
}

func (l *qemuLab) execute(machine, command string, args any) error {
	return l.monitor(machine, func(ctx context.Context, q *qmp.Client) error { return q.Execute(ctx, command, args, nil) })
}

func (l *qemuLab) Write(machine, disk string, off, length int64, pattern byte) error {
	line := fmt.Sprintf(`qemu-io -d /machine/peripheral/v-%s/virtio-backend "write -f -P %d %d %d"`, disk, pattern, off, length)
	return l.monitor(machine, func(ctx context.Context, q *qmp.Client) error {
		var said string
		err := q.Execute(ctx, "human-monitor-command", map[string]any{"command-line": line}, &said)
		if err == nil && strings.Contains(said, "rror") {
			err = fmt.Errorf("qemu-io: %s", said)
		}
		return err
	})
}

func (l *qemuLab) Pause(machine string) error  { return l.execute(machine, "stop", nil) }
func (l *qemuLab) Resume(machine string) error { return l.execute(machine, "cont", nil) }
func (l *qemuLab) Reset(machine string) error  { return l.execute(machine, "system_reset", nil) }

// PowerOff writes to the port with which guests power a q35 machine off, until the
// firmware has put it there.
func (l *qemuLab) PowerOff(machine string) error {
	for began := time.Now(); time.Since(began) < 30*time.Second; {
		err := l.execute(machine, "human-monitor-command", map[string]any{"command-line": "o /w 0x604 0x2000"})
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		st, ierr := l.host.Inspect(ctx, machine)
		cancel()
		if ierr == nil && st.PoweredOff {
			return nil
		}
		if err != nil && ierr != nil {
			return fmt.Errorf("%w, %w", err, ierr)
		}
	}
	return fmt.Errorf("machine %s does not power off", machine)
}

func (l *qemuLab) Kill(machine string) error {
	st, err := l.host.Inspect(context.Background(), machine)
	if err != nil {
		return err
	}
	fd, err := unix.PidfdOpen(st.PID, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
		return err
	}
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 30_000) //nolint:gosec // a descriptor
	return err
}
