package control

import (
	"testing"
	"time"

	"holdfast"
)

// A cursor comes back from customers: only what was given out for this list of
// this account is taken, up to how its JSON is written.
func FuzzReadCursor(f *testing.F) {
	mine, other := holdfast.NewID[holdfast.AccountID](), holdfast.NewID[holdfast.AccountID]()
	given := writeCursor(mine, "vps", time.UnixMicro(1_700_000_000_000_000), "vps_1")
	f.Add(given)
	f.Add(given[:10])
	f.Add(writeCursor(other, "vps", time.UnixMicro(1), "vps_1"))
	f.Add(writeCursor(mine, "backups", time.UnixMicro(1), "bkp_1"))
	f.Add("e30")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := readCursor(mine, "vps", s)
		if err != nil || s == "" {
			return
		}
		if again, err := readCursor(mine, "vps", writeCursor(mine, "vps", c.At, c.ID)); err != nil || again != c {
			t.Errorf("%+v was taken, and then %+v (%v)", c, again, err)
		}
		if _, err := readCursor(other, "vps", s); err == nil {
			t.Error("another account's cursor was taken")
		}
		if _, err := readCursor(mine, "backups", s); err == nil {
			t.Error("another list's cursor was taken")
		}
	})
}

// What hosts report ends in rows that customers see: a host that was taken over
// reports only what can be.
func FuzzReports(f *testing.F) {
	f.Add([]byte(`{"power":"running","ports":[{"address":"127.0.0.1","hostPort":2201,"guestPort":22}]}`))
	f.Add([]byte(`{"power":"running","ports":[{"hostPort":-1}]}`))
	f.Add([]byte(`{"pointAt":"2026-03-01T00:00:00Z","point":"p","sizeBytes":1,"incremental":"full","consistency":"crash"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, err := readMachineReport(raw); err == nil {
			if len(r.Ports) > maxPorts || r.Power == "" {
				t.Errorf("%+v was taken", r)
			}
			for _, p := range r.Ports {
				if p.HostPort < 1 || p.HostPort > 65535 || p.GuestPort < 1 || p.GuestPort > 65535 || p.Address == "" {
					t.Errorf("%+v was taken", p)
				}
			}
		}
		if r, err := readBackupReport(raw); err == nil {
			if r.SizeBytes < 0 || r.TransferredBytes < 0 || r.ChangedBytes < 0 || r.PointAt.Year() < 2000 || r.PointAt.Year() > 2200 {
				t.Errorf("%+v was taken", r)
			}
		}
	})
}
