package api_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"holdfast"
	"holdfast/control"
	"holdfast/store"
)

// TestDisksOfAVPS walks a VPS through every change of its disks by the operator's
// door; what it uses of its host and its account follows.
func TestDisksOfAVPS(t *testing.T) {
	b := newBench(t)
	const gib = holdfast.GiB
	change := func(name string, in map[string]any, want string) {
		t.Helper()
		in["vps"] = b.vps.ID
		var job map[string]any
		b.admin(name, in, &job)
		b.raw("POST", "/admin/v1/vps-start", b.operator, `{"vps":"`+b.vps.ID.String()+`"}`).want(409, "operation_in_progress")
		b.raw("POST", "/admin/v1/vps-disk-grow", b.operator, fmt.Sprintf(`{"vps":%q,"disk":"disk0","sizeBytes":%d}`, b.vps.ID, 900*gib)).want(409, "operation_in_progress")
		r := b.claim(holdfast.KindVPSReshape)
		var got holdfast.ReshapeInput
		b.ok(json.Unmarshal(r.op.Input, &got))
		if fmt.Sprint(got) != want || r.op.Lock != holdfast.LockData {
			t.Fatalf("%s asks the host for %v under %q, want %s", name, got, r.op.Lock, want)
		}
		r.done(struct{}{})
	}
	has := func(want string) {
		t.Helper()
		v, err := b.store.VPS(b.ctx(), b.vps.ID)
		b.ok(err)
		if fmt.Sprint(v.Disks) != want {
			t.Fatalf("the VPS has %v, want %s", v.Disks, want)
		}
		used, err := b.store.UsedHost(b.ctx(), b.host)
		b.ok(err)
		if want := v.StorageGb() + 80; used.StorageGb != want { // and the other's
			t.Errorf("its host has %d GiB in use, want %d", used.StorageGb, want)
		}
	}
	change("vps-disk-grow", map[string]any{"disk": "disk0", "sizeBytes": 100 * gib}, fmt.Sprintf("{grow {disk0 %d}}", 100*gib))
	has(fmt.Sprintf("[{disk0 %d} {disk1 %d}]", 100*gib, 10*gib))
	b.raw("POST", "/admin/v1/vps-disk-add", b.operator, fmt.Sprintf(`{"vps":%q,"sizeBytes":%d}`, b.vps.ID, gib)).want(409, "vps_state_changed")
	b.raw("POST", "/admin/v1/vps-disk-remove", b.operator, fmt.Sprintf(`{"vps":%q,"disk":"disk1"}`, b.vps.ID)).want(409, "vps_state_changed")
	b.tx(func(tx *store.Tx) error {
		b.ok(tx.SetPower(b.ctx(), b.vps.ID, holdfast.PowerStopped))
		return tx.SetDesired(b.ctx(), b.vps.ID, holdfast.PowerStopped)
	})
	change("vps-disk-add", map[string]any{"sizeBytes": gib}, fmt.Sprintf("{add {disk2 %d}}", gib))
	change("vps-disk-remove", map[string]any{"disk": "disk1"}, "{remove {disk1 0}}")
	change("vps-disk-add", map[string]any{"sizeBytes": 2 * gib}, fmt.Sprintf("{add {disk3 %d}}", 2*gib))
	has(fmt.Sprintf("[{disk0 %d} {disk2 %d} {disk3 %d}]", 100*gib, gib, 2*gib))

	// One that fails leaves the VPS as it was.
	var job map[string]any
	b.admin("vps-disk-grow", map[string]any{"vps": b.vps.ID, "disk": "disk2", "sizeBytes": 3 * gib}, &job)
	b.claim(holdfast.KindVPSReshape).fail(holdfast.Failure{Code: holdfast.CodeHostDiskFull, Message: "full"})
	has(fmt.Sprintf("[{disk0 %d} {disk2 %d} {disk3 %d}]", 100*gib, gib, 2*gib))
}

func TestChangesOfDisksThatCannotBe(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	stopped := b.insertVPS(b.account, "stopped")
	shot := b.insertVPS(b.account, "shot")
	b.insertSnapshot(shot, "s1")
	full := b.insertVPS(b.account, "full")
	b.tx(func(tx *store.Tx) error {
		b.ok(tx.SetPower(b.ctx(), stopped.ID, holdfast.PowerStopped))
		b.ok(tx.SetDesired(b.ctx(), stopped.ID, holdfast.PowerStopped))
		var many []holdfast.VPSDisk
		for i := range 16 {
			many = append(many, holdfast.VPSDisk{Name: fmt.Sprintf("disk%d", i), SizeBytes: holdfast.GiB})
		}
		return tx.SetDisks(b.ctx(), full.ID, many)
	})
	for _, c := range []struct{ name, body, code, faults string }{
		{"grow", `{"vps":"x","disk":"disk0","sizeBytes":1}`, "vps_not_found", ""},
		{"grow", fmt.Sprintf(`{"vps":%q,"disk":"disk9","sizeBytes":1}`, stopped.ID), "invalid_request", "/disk:invalid_value"},
		{"grow", fmt.Sprintf(`{"vps":%q,"disk":"disk0","sizeBytes":%d}`, stopped.ID, 70*holdfast.GiB), "invalid_request", "/sizeBytes:invalid_value"},
		{"grow", fmt.Sprintf(`{"vps":%q,"disk":"disk0","sizeBytes":%d}`, stopped.ID, 70*holdfast.GiB+1), "invalid_request", "/sizeBytes:invalid_value"},
		{"grow", fmt.Sprintf(`{"vps":%q,"disk":"disk0","sizeBytes":%d}`, stopped.ID, int64(65)<<40), "invalid_request", "/sizeBytes:invalid_value"},
		{"grow", fmt.Sprintf(`{"vps":%q,"disk":"disk0","sizeBytes":%d}`, shot.ID, 80*holdfast.GiB), "vps_state_changed", ""},
		{"add", fmt.Sprintf(`{"vps":%q,"sizeBytes":0}`, stopped.ID), "invalid_request", "/sizeBytes:invalid_value"},
		{"add", fmt.Sprintf(`{"vps":%q,"sizeBytes":512}`, full.ID), "invalid_request", "/vps:invalid_value"},
		{"remove", fmt.Sprintf(`{"vps":%q,"disk":"disk0"}`, stopped.ID), "invalid_request", "/disk:invalid_value"},
		{"remove", fmt.Sprintf(`{"vps":%q,"disk":"../x"}`, stopped.ID), "invalid_request", "/disk:invalid_value"},
		{"remove", fmt.Sprintf(`{"vps":%q}`, stopped.ID), "invalid_request", "/disk:missing_required"},
	} {
		if a := b.raw("POST", "/admin/v1/vps-disk-"+c.name, b.operator, c.body); a.code() != c.code || a.faults() != c.faults {
			t.Errorf("%s %s: %d %s %q", c.name, c.body, a.status, a.code(), a.faults())
		}
	}
}

// TestRoomForDisks: neither the host's capacity nor a Cloud VM's account is passed.
func TestRoomForDisks(t *testing.T) {
	b := newBench(t)
	grow := func(v holdfast.VPS, gb int64) answer {
		return b.raw("POST", "/admin/v1/vps-disk-grow", b.operator, fmt.Sprintf(`{"vps":%q,"disk":"disk0","sizeBytes":%d}`, v.ID, gb*holdfast.GiB))
	}
	cloud := b.vps
	cloud.ID, cloud.MAC, cloud.Billing.IsPayg = holdfast.NewID[holdfast.VPSID](), "52:54:00:ff:ff:01", true
	b.tx(func(tx *store.Tx) error { return tx.InsertVPS(b.ctx(), cloud) })
	limit := 100
	b.setAccount(control.SetAccountInput{Limits: &control.LimitsPatch{StorageGb: &limit}})
	grow(cloud, 91).want(403, "storage_limit_exceeded")
	capacity := 250
	_, err := b.control.RegisterHost(b.ctx(), control.RegisterHostInput{Name: "h1", Region: "stockholm", Driver: "sim", Capacity: control.LimitsInfo{StorageGb: capacity}})
	b.ok(err)
	grow(b.vps, 81).want(503, "region_capacity_exhausted") // 240 in use
	grow(b.vps, 80).want(200, "")
	b.claim(holdfast.KindVPSReshape).done(struct{}{})
	limit = 101
	b.setAccount(control.SetAccountInput{Limits: &control.LimitsPatch{StorageGb: &limit}})
	grow(cloud, 91).want(503, "region_capacity_exhausted")
}
