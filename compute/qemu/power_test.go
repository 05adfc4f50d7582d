//go:build vm

package qemu

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"holdfast/compute"
)

// bootSector is a whole guest: it says something on the serial port, waits
// until the byte after itself on the disk is 1, and powers off.
func bootSector() []byte {
	code := []byte{
		0x31, 0xC0, 0x8E, 0xD8, 0x8E, 0xC0, 0x8E, 0xD0, // ax = ds = es = ss = 0
		0xBC, 0x00, 0x7C, 0xFC, // sp = 0x7c00, cld
		0xBE, 0x39, 0x7C, // si = text
		0xAC, 0x84, 0xC0, 0x74, 0x06, // next: lodsb; zero? on to wait
		0xBA, 0xF8, 0x03, 0xEE, 0xEB, 0xF5, // to COM1; next
		0xB8, 0x01, 0x02, 0xBB, 0x00, 0x7E, // wait: read one sector to 0x7e00
		0xB9, 0x02, 0x00, 0xBA, 0x80, 0x00, 0xCD, 0x13, // the second one of the disk
		0x80, 0x3E, 0x00, 0x7E, 0x01, 0x75, 0xEB, // is it 1? else wait
		0xB8, 0x00, 0x20, 0xBA, 0x04, 0x06, 0xEF, // PM1a_CNT = sleep, type S5
		0xF4, 0xEB, 0xFD, // hlt
	}
	b := make([]byte, mib)
	copy(b, code)
	copy(b[len(code):], "the guest is up\r\n")
	b[510], b[511] = 0x55, 0xAA
	return b
}

const powerOff = "write -P 1 512 512"

func bootable(t *testing.T, d *Driver) compute.Machine {
	t.Helper()
	m := machine(4*mib, mib)
	m.Disks[0].Image = filepath.Join(filepath.Dir(d.cfg.Root), "boot.raw")
	m.Disks[0].ImageFormat = "raw"
	if err := os.WriteFile(m.Disks[0].Image, bootSector(), 0o600); err != nil {
		t.Fatal(err)
	}
	define(t, d, m, true)
	eventually(t, "the guest to speak", func() bool {
		text, err := d.Console(t.Context(), m.ID, 1000)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(text, []byte("the guest is up"))
	})
	return m
}

// eventually asks again for what has no event.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestGuestPowersOff(t *testing.T) {
	d := newDriver(t)
	m := bootable(t, d)
	if text, err := d.Console(t.Context(), m.ID, 4); err != nil || len(text) != 4 {
		t.Errorf("4 bytes of console: %q, %v", text, err)
	}
	guest(t, d, m.ID, "disk0", powerOff)
	// Nothing listens to the power button here, and the guest goes by itself.
	if err := d.Stop(t.Context(), m.ID, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	statusIs(t, d, m.ID, compute.Stopped)
	text, err := d.Console(t.Context(), m.ID, 1000)
	if err != nil || !bytes.Contains(text, []byte("the guest is up")) {
		t.Errorf("console of a stopped machine: %q, %v", text, err)
	}
}

// TestPowerOffKeepsPoint: a guest that powers off is stopped to everyone, and
// the point in time of it is whole until End.
func TestPowerOffKeepsPoint(t *testing.T) {
	d := newDriver(t)
	m := bootable(t, d)
	h := begin(t, d, m, "01off.1")
	guest(t, d, m.ID, "disk0", powerOff)
	eventually(t, "the guest to be off", func() bool {
		st, err := d.Inspect(t.Context(), m.ID)
		if err != nil || st.PID == 0 {
			t.Fatalf("%+v, %v", st, err)
		}
		return st.Power == compute.Stopped
	})
	if err := d.Recover(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	var im image
	im.update(t, d, h, 0)
	if !bytes.Equal(im.data[:mib], bootSector()) {
		t.Error("not the bytes of the point in time")
	}
	end(t, d, h, compute.Committed)
	if st, err := d.Inspect(t.Context(), m.ID); err != nil || st.Power != compute.Stopped || st.PID != 0 {
		t.Errorf("after the end: %+v, %v", st, err)
	}
	next := begin(t, d, m, "01off.2", "01off.1")
	if next.Disks[0].Parent != "01off.1" {
		t.Errorf("%+v", next.Disks)
	}
	end(t, d, next, compute.Abandoned)
}

// TestStartAfterPowerOff: while a point keeps the process of a guest that is
// off, its customer can start it.
func TestStartAfterPowerOff(t *testing.T) {
	d := newDriver(t)
	m := bootable(t, d)
	h := begin(t, d, m, "01off.1")
	guest(t, d, m.ID, "disk0", powerOff)
	if err := d.Stop(t.Context(), m.ID, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := d.Recover(t.Context(), h); err != nil {
		t.Fatalf("the point did not outlive a stop in order: %v", err)
	}
	if err := d.Start(t.Context(), m.ID); err != nil {
		t.Fatal(err)
	}
	if err := d.Recover(t.Context(), h); !errors.Is(err, compute.ErrPointLost) {
		t.Errorf("got %v", err)
	}
	end(t, d, h, compute.Abandoned)
}
