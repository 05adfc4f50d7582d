package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"

	"holdfast/compute"
	"holdfast/compute/qemu/qmp"
)

// Probe asks the hypervisor itself what it can do.
func (d *Driver) Probe(ctx context.Context) (compute.Capabilities, error) {
	c := compute.Capabilities{Driver: driverName, Accelerator: d.cfg.Accelerator}
	q, end, err := d.probeProcess(ctx)
	if err != nil {
		return c, err
	}
	defer end()
	v := q.Version()
	c.Version = fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Micro)
	var schema json.RawMessage
	if err := q.Execute(ctx, "query-qmp-schema", nil, &schema); err != nil {
		return c, err
	}
	c.LivePoint = saysAll(schema, "copy-before-write", "snapshot-access", "break-snapshot", "cbw-timeout", "set-action", "nbd-server-start")
	c.ChangeTracking = saysAll(schema, "block-dirty-bitmap-add", "block-dirty-bitmap-merge", "block-dirty-bitmap-disable", "inconsistent")
	return c, nil
}

// saysAll looks for names in the schema: types have numbers there, but
// commands, members and values are themselves.
func saysAll(schema []byte, names ...string) bool {
	for _, n := range names {
		if !bytes.Contains(schema, []byte(`"`+n+`"`)) {
			return false
		}
	}
	return true
}

// probeProcess runs a QEMU without a machine.
func (d *Driver) probeProcess(ctx context.Context) (*qmp.Client, func(), error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("qemu: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "qmp"), os.NewFile(uintptr(fds[1]), "qmp") //nolint:gosec // descriptors
	conn, err := net.FileConn(ours)
	err = errors.Join(err, ours.Close())
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("qemu: %w", err), theirs.Close())
	}
	cmd := exec.CommandContext(ctx, d.cfg.QEMU, "-machine", "none", "-nodefaults", "-no-user-config", "-display", "none", //nolint:gosec // configuration
		"-sandbox", sandbox, "-chardev", "socket,id=q,fd=3", "-mon", "chardev=q,mode=control")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	var said bounded
	cmd.Stderr = &said
	err = errors.Join(cmd.Start(), theirs.Close())
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("qemu: %w", err), conn.Close())
	}
	q, err := qmp.New(ctx, conn)
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, nil, fmt.Errorf("qemu: probing: %w: %.300s", err, said.String())
	}
	return q, func() {
		_ = q.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	}, nil
}
