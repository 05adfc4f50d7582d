package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"holdfast"
	"holdfast/backup"
	"holdfast/compute"
	"holdfast/compute/qemu"
	"holdfast/internal/vmtest"
	hosts "holdfast/machine"
	"holdfast/operation"
	"holdfast/vault"
)

const (
	// windowWrites is how many writes of the guest a window has at least.
	windowWrites = 2000
	// guestData is how many MiB of data the guest's last disk holds, half of it
	// noise and half text.
	guestData = 256
	diskMiB   = 1 << 20
	patience  = 5 * time.Minute
)

// window is what the guest has measured of its own writes, in microseconds.
type window struct {
	Writes, P50Micros, P99Micros, MaxMicros int64
}

// bystander is a guest that writes all the time, and the service that backs it
// up with the limits that it has by default.
type bystander struct {
	dir    string
	driver *qemu.Driver
	id     holdfast.VPSID
	url    string
	disks  []holdfast.VPSDisk
}

// guestWrites measures windows of a guest's writes, in turn when nothing else
// happens and while full backups are made of it. The kernel, initrd and root of
// the test guest lie in image.
func guestWrites(ctx context.Context, dir, image string, rounds int) (r report, err error) {
	b := &bystander{dir: dir, id: holdfast.NewID[holdfast.VPSID]()}
	run, err := os.MkdirTemp("/tmp", "hfb") // short: sockets lie in it
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(run)) }()
	if err := b.boot(ctx, run, image); err != nil {
		return r, err
	}
	defer func() {
		err = errors.Join(err, b.driver.Delete(context.WithoutCancel(ctx), string(b.id)), b.driver.Close())
	}()
	for n := range rounds {
		idle, err := b.measure(ctx, func(ctx context.Context) error { return wait(ctx, time.Second) })
		if err != nil {
			return r, err
		}
		during, err := b.measure(ctx, b.backUp)
		if err != nil {
			return r, err
		}
		fmt.Fprintf(os.Stderr, "guest %d of %d: idle %+v, during a backup %+v\n", n+1, rounds, idle, during)
		r.Idle, r.During = append(r.Idle, idle), append(r.During, during)
	}
	return r, nil
}

func (b *bystander) boot(ctx context.Context, run, image string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	accelerator := os.Getenv("ACCEL")
	if accelerator == "" {
		accelerator = "tcg"
	}
	if b.driver, err = qemu.New(qemu.Config{
		Root: filepath.Join(b.dir, "machines"), Run: run, Scratch: filepath.Join(b.dir, "scratch"), Accelerator: accelerator,
		Watchdog: []string{self, "watchdog"}, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	m := compute.Machine{
		ID: string(b.id), Hostname: "bystander", CPUs: 1, MemoryMiB: 256,
		Kernel: filepath.Join(image, "vmlinuz"), Initrd: filepath.Join(image, "initrd.img"), Cmdline: "console=ttyS0 quiet panic=-1",
		NIC: compute.NIC{MAC: "52:54:00:00:be:01", Network: "user", Forwards: []compute.Forward{{HostPort: port, GuestPort: 80}}},
		Disks: []compute.Disk{
			{Name: "disk0", SizeBytes: 256 * diskMiB, Image: filepath.Join(image, "root.qcow2"), ImageFormat: "qcow2"},
			{Name: "disk1", SizeBytes: 64 * diskMiB}, {Name: "disk2", SizeBytes: 64 * diskMiB}, {Name: "disk3", SizeBytes: guestData * diskMiB},
		},
	}
	for _, d := range m.Disks {
		b.disks = append(b.disks, holdfast.VPSDisk{Name: d.Name, SizeBytes: d.SizeBytes})
	}
	b.url = fmt.Sprintf("http://127.0.0.1:%d", port)
	if err := b.driver.Define(ctx, m); err != nil {
		return err
	}
	if err := b.driver.Start(ctx, m.ID); err != nil {
		return errors.Join(err, b.driver.Delete(context.WithoutCancel(ctx), m.ID))
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := vmtest.WaitHTTP(ctx, b.url+"/boots"); err != nil {
		return errors.Join(err, b.driver.Delete(context.WithoutCancel(ctx), m.ID))
	}
	for _, path := range []string{
		fmt.Sprintf("/fill?dev=/dev/vdd&mb=%d", guestData/2),
		fmt.Sprintf("/fill?dev=/dev/vdd&at=%d&mb=%d&kind=text", guestData/2, guestData/2),
		"/log/start?dev=/dev/vdb&dev=/dev/vdc",
	} {
		if _, err := vmtest.Get(ctx, b.url+path); err != nil {
			return errors.Join(err, b.driver.Delete(context.WithoutCancel(ctx), m.ID))
		}
	}
	return nil
}

// measure repeats something until the guest has written enough meanwhile.
func (b *bystander) measure(ctx context.Context, what func(context.Context) error) (window, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var first, last int64
	if _, err := b.latency(ctx); err != nil { // which forgets what was before
		return window{}, err
	}
	err := b.count(ctx, &first)
	for err == nil {
		if err = what(ctx); err != nil {
			break
		}
		// An entry is a write to each of two disks; noise comes on top.
		if err = b.count(ctx, &last); err == nil && 2*(last-first) >= windowWrites {
			return b.latency(ctx)
		}
	}
	return window{}, err
}

func (b *bystander) count(ctx context.Context, n *int64) error {
	text, err := vmtest.Get(ctx, b.url+"/log/count")
	if err == nil {
		_, err = fmt.Sscan(text, n)
	}
	return err
}

func (b *bystander) latency(ctx context.Context) (w window, err error) {
	text, err := vmtest.Get(ctx, b.url+"/log/latency")
	if err == nil {
		err = json.Unmarshal([]byte(text), &w)
	}
	return w, err
}

// backUp makes a full backup into an empty vault, as the service does.
func (b *bystander) backUp(ctx context.Context) error {
	dir := filepath.Join(b.dir, "bystander")
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(filepath.Join(dir, "repo"), 0o700)); err != nil {
		return err
	}
	if err := initVault(ctx, dir); err != nil {
		return err
	}
	input, err := json.Marshal(holdfast.BackupInput{Disks: b.disks, Generation: 1})
	if err != nil {
		return err
	}
	s := &backup.Service{
		Host: &hosts.Host{Driver: b.driver, Provisioner: b.driver}, Vaults: only(dir), Log: slog.New(slog.DiscardHandler),
		Limits: backup.Limits{WriteLatency: time.Second},
	}
	_, err = s.Backup(ctx, operation.Detached(holdfast.Operation{
		ID: holdfast.NewID[holdfast.JobID](), Kind: holdfast.KindBackup, AccountID: accountID, VPSID: b.id,
		BackupID: holdfast.NewID[holdfast.BackupID](), Input: input,
	}))
	return err
}

// only is the one vault of a directory.
type only string

// Open implements backup.Vaults.
func (o only) Open(ctx context.Context, _ holdfast.AccountID) (*vault.Vault, error) {
	return openVault(ctx, string(o))
}

// Places implements backup.Vaults.
func (o only) Places() []string { return []string{"bench"} }

// At implements backup.Vaults.
func (o only) At(ctx context.Context, account holdfast.AccountID, _ string) (*vault.Vault, error) {
	return o.Open(ctx, account)
}

// Twin implements backup.Vaults.
func (o only) Twin(ctx context.Context, account holdfast.AccountID, _ string) (*vault.Vault, error) {
	return o.Open(ctx, account)
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // returns at once
	if err != nil {
		return 0, err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	n := 0
	if err == nil {
		_, err = fmt.Sscan(port, &n)
	}
	return n, errors.Join(err, l.Close())
}
