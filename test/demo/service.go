package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"holdfast/internal/vmtest"
)

// service is the demo's service; it outlives the demo.
type service struct{ url, data, run string }

// paths of the demo. Sockets have at most 107 bytes, so they lie in a short
// directory wherever the checkout is.
func (d *demo) paths() error {
	if d.service.data != "" {
		return nil
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	name := filepath.Join(d.dir, "run-dir")
	b, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		var dir string
		if dir, err = os.MkdirTemp("", "hfdemo"); err != nil {
			return err
		}
		b, err = []byte(dir), os.WriteFile(name, []byte(dir), 0o600)
	}
	if err != nil {
		return err
	}
	d.service.run, d.service.data = string(b), filepath.Join(d.dir, "data")
	if err := d.accelerator(); err != nil {
		return err
	}
	return os.MkdirAll(d.service.run, 0o700)
}

// accelerator is the one that the demo was started with.
func (d *demo) accelerator() error {
	name := filepath.Join(d.dir, "accelerator")
	if d.accel != "" {
		return os.WriteFile(name, []byte(d.accel), 0o600)
	}
	b, err := os.ReadFile(name)
	d.accel = string(b)
	return err
}

// start ends a former service and starts one; VPSs outlive both.
func (d *demo) start(ctx context.Context) error {
	if err := d.paths(); err != nil {
		return err
	}
	if err := d.end(ctx); err != nil {
		return err
	}
	port, err := d.port()
	if err != nil {
		return err
	}
	d.service.url = fmt.Sprintf("http://127.0.0.1:%d", port)
	log, err := os.OpenFile(filepath.Join(d.dir, "service.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	args := []string{"serve", "--data", d.service.data, "--listen", fmt.Sprintf("127.0.0.1:%d", port), "--accelerator", d.accel, "--set", "host.run=" + d.service.run}
	fmt.Println("  $ holdfast " + strings.Join(args, " "))
	cmd := exec.Command(d.binary, args...) // #nosec G204 -- our own binary
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := os.WriteFile(d.pidFile(), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("see .demo/service.log"))
	defer cancel()
	if _, err := vmtest.WaitHTTP(ctx, d.service.url+"/healthz"); err != nil {
		return fmt.Errorf("the service does not answer: %w (see .demo/service.log)", err)
	}
	fmt.Println("  it answers at " + d.service.url)
	return nil
}

// port is the one of the run before, so that addresses stay, or a free one.
func (d *demo) port() (int, error) {
	name := filepath.Join(d.dir, "port")
	if b, err := os.ReadFile(name); err == nil {
		if p, err := strconv.Atoi(string(b)); err == nil {
			if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p)); err == nil {
				return p, l.Close()
			}
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	addr, _ := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil {
		return 0, err
	}
	return addr.Port, os.WriteFile(name, []byte(strconv.Itoa(addr.Port)), 0o600)
}

func (d *demo) pidFile() string { return filepath.Join(d.dir, "service.pid") }

// end stops the service that a former run left, if it is still that one.
func (d *demo) end(ctx context.Context) error {
	b, err := os.ReadFile(d.pidFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(string(b))
	if err != nil {
		return fmt.Errorf("%s: %w", d.pidFile(), err)
	}
	ours := func() bool {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		return err == nil && strings.Contains(string(line), d.service.data)
	}
	if ours() {
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			return err
		}
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for ours() {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return os.Remove(d.pidFile())
}

// stop deletes the demo's VPSs, ends the service and removes .demo.
func (d *demo) stop(ctx context.Context) error {
	if _, err := os.Stat(d.dir); errors.Is(err, os.ErrNotExist) {
		fmt.Println("no demo is running")
		return nil
	}
	if err := d.start(ctx); err != nil { // deleting needs the service
		return err
	}
	vms, err := d.machines(ctx)
	if err != nil {
		return err
	}
	for _, v := range vms {
		if _, err := d.admin(ctx, "vps", "delete", v.ID, "--wait"); err != nil {
			return err
		}
	}
	if err := d.end(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(d.service.run); err != nil {
		return err
	}
	fmt.Println("  the service and its VPSs are gone; .demo is removed")
	return os.RemoveAll(d.dir)
}
