package api_test

import (
	"encoding/json"
	"testing"
	"time"

	"holdfast"
	"holdfast/control"
	"holdfast/store"
)

func (b *bench) power(action string) string {
	return "/api/v2/vps/" + b.vps.ID.String() + "/actions/" + action
}

func (b *bench) setPower(p holdfast.PowerState) {
	b.t.Helper()
	b.tx(func(tx *store.Tx) error { return tx.SetPower(b.ctx(), b.vps.ID, p) })
}

// Each action becomes the operation that does it, and is shown as done.
func TestPowerActions(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		action, body string
		from         holdfast.PowerState
		kind         holdfast.Kind
		grace        time.Duration
		to, desired  holdfast.PowerState
	}{
		{"start", "", holdfast.PowerStopped, holdfast.KindVPSStart, 0, holdfast.PowerRunning, holdfast.PowerRunning},
		{"shutdown", "", holdfast.PowerRunning, holdfast.KindVPSStop, time.Minute, holdfast.PowerStopped, holdfast.PowerStopped},
		{"stop", "{}", holdfast.PowerRunning, holdfast.KindVPSStop, 0, holdfast.PowerStopped, holdfast.PowerStopped},
		{"restart", "", holdfast.PowerRunning, holdfast.KindVPSRestart, time.Minute, holdfast.PowerRunning, holdfast.PowerRunning},
		{"restart", `{"force":false}`, holdfast.PowerRunning, holdfast.KindVPSRestart, time.Minute, holdfast.PowerRunning, holdfast.PowerRunning},
		{"restart", `{"force":true}`, holdfast.PowerRunning, holdfast.KindVPSRestart, 0, holdfast.PowerRunning, holdfast.PowerRunning},
		{"reset", "", holdfast.PowerRunning, holdfast.KindVPSReset, 0, holdfast.PowerRunning, holdfast.PowerRunning},
	} {
		b.setPower(c.from)
		url := b.call("POST", b.power(c.action), b.full, c.body).want(202, "").text("operation.pollUrl")
		r := b.claim(c.kind)
		var in holdfast.StopInput
		b.ok(json.Unmarshal(r.op.Input, &in))
		if in.Grace != c.grace || r.op.Lock != holdfast.LockPower {
			t.Errorf("%s %s: %+v, lock %q", c.action, c.body, in, r.op.Lock)
		}
		r.done(holdfast.MachineReport{Power: c.to})
		v, err := b.store.VPS(b.ctx(), b.vps.ID)
		if a := b.state(url, b.full); err != nil || a.text("result.powerState") != string(c.to) || v.Power != c.to || v.Desired != c.desired {
			t.Errorf("%s: %s; %+v, %v", c.action, a.raw, v, err)
		}
	}
}

// Whatever shuts a gate of power, the call gets the same code.
func TestPowerGates(t *testing.T) {
	actions := []string{"start", "shutdown", "stop", "restart", "reset"}
	b := newBench(t, rate(100_000, 10_000))
	gates := map[string]string{"start": "canStart", "shutdown": "canShutdown", "stop": "canStop", "restart": "canRestart", "reset": "canReset"}
	for _, c := range []struct {
		name, start, others string
		shut                func(*bench)
	}{
		{"running", "vps_not_ready", "", func(*bench) {}},
		{"stopped", "", "vps_not_ready", func(b *bench) { b.setPower(holdfast.PowerStopped) }},
		{"unknown", "", "", func(b *bench) { b.setPower(holdfast.PowerUnknown) }},
		{"provisioning", "vps_not_ready", "vps_not_ready", func(b *bench) { b.setPower(holdfast.PowerProvisioning) }},
		{"account inactive", "account_inactive", "account_inactive", func(b *bench) { b.setAccount(control.SetAccountInput{Active: ptr(false)}) }},
		{"suspended", "service_suspended", "service_suspended", func(b *bench) { b.service(holdfast.ServiceSuspended) }},
		{"terminated", "service_terminated", "service_terminated", func(b *bench) { b.service(holdfast.ServiceTerminated) }},
		{"a backup runs", "vps_not_ready", "", func(b *bench) { b.call("POST", b.backups(), b.full, "").want(202, "") }},
		{"a power action runs", "operation_in_progress", "operation_in_progress", func(b *bench) {
			b.call("POST", b.power("stop"), b.full, "").want(202, "")
		}},
		{"a rollback runs", "operation_in_progress", "operation_in_progress", func(b *bench) {
			b.insertSnapshot(b.vps, "a")
			b.call("POST", b.snapshots()+"/a/actions/restore", b.full, "").want(202, "")
		}},
		{"host silent", "vps_not_ready", "host_unavailable", func(b *bench) {
			b.mu.Lock()
			b.now = b.now.Add(2 * holdfast.HostAlive)
			b.mu.Unlock()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.anew()
			c.shut(b)
			list := b.call("GET", "/api/v2/vps/"+b.vps.ID.String(), b.full, "").want(200, "")
			begun := false
			for _, action := range actions {
				want := c.others
				if action == "start" {
					want = c.start
				}
				if got, _ := list.at("actions." + gates[action] + ".code").(string); got != want {
					t.Errorf("%s has %q, want %q", gates[action], got, want)
				}
				if begun {
					continue // what one call has begun is in the way of the next
				}
				a := b.call("POST", b.power(action), b.full, "")
				if a.code() != want || a.status == 202 != (want == "") {
					t.Errorf("%s: %d %s, want %q", action, a.status, a.raw, want)
				}
				begun = want == ""
			}
		})
	}
}

func TestPowerRefuses(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	for _, action := range []string{"start", "shutdown", "stop", "restart", "reset"} {
		for _, vps := range []string{b.foreign.ID.String(), holdfast.NewID[holdfast.VPSID]().String(), "vps_x"} {
			b.call("POST", "/api/v2/vps/"+vps+"/actions/"+action, b.full, "not json").want(404, "vps_not_found")
		}
		body, fault := `{"force":true}`, "/force:unknown_field"
		if action == "restart" {
			body, fault = `{"force":"yes"}`, "/force:invalid_value"
		}
		if a := b.call("POST", b.power(action), b.full, body).want(400, "invalid_request"); a.faults() != fault {
			t.Errorf("%s: %q", action, a.faults())
		}
		b.call("POST", b.power(action), b.full, "{}", header{"Content-Type": "text/plain"}).want(415, "unsupported_media_type")
	}
	first := b.call("POST", b.power("restart"), b.full, "", key("k")).want(202, "")
	again := b.call("POST", b.power("restart"), b.full, "{}", key("k")).want(202, "")
	if first.text("operation.jobId") != again.text("operation.jobId") {
		t.Errorf("%s, then %s", first.raw, again.raw)
	}
	b.call("POST", b.power("restart"), b.full, `{"force":true}`, key("k")).want(409, "idempotency_key_reused")
	if got := b.gateIn("/api/v2/vps/"+b.vps.ID.String(), b.read, "canStop"); got != "forbidden" {
		t.Errorf("by scope: %q", got)
	}
}
