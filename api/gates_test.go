package api_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast"
	"holdfast/control"
	"holdfast/store"
)

func (b *bench) backups() string { return "/api/v2/vps/" + b.vps.ID.String() + "/backups" }

// gate reads a gate of the backup list: "" when it is open, else its code.
func (b *bench) gate(key, name string) string {
	b.t.Helper()
	a := b.call("GET", b.backups(), key, "").want(200, "")
	allowed := a.at("actions." + name + ".allowed").(bool)
	code, _ := a.at("actions." + name + ".code").(string)
	reason, _ := a.at("actions." + name + ".reason").(string)
	if allowed != (code == "") || allowed != (reason == "") {
		b.t.Errorf("the gate %s is %s", name, a.raw)
	}
	return code
}

func ptr[T any](v T) *T { return &v }

// Whatever shuts the gate of a backup, the call gets the same code.
func TestCreateBackupGate(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		code   string
		shut   func(*bench)
	}{
		{"open", 202, "", func(*bench) {}},
		{"stopped is open", 202, "", func(b *bench) {
			b.tx(func(tx *store.Tx) error { return tx.SetPower(b.ctx(), b.vps.ID, holdfast.PowerStopped) })
		}},
		{"account inactive", 403, "account_inactive", func(b *bench) { b.setAccount(control.SetAccountInput{Active: ptr(false)}) }},
		{"suspended", 409, "service_suspended", func(b *bench) { b.service(holdfast.ServiceSuspended) }},
		{"terminated", 409, "service_terminated", func(b *bench) { b.service(holdfast.ServiceTerminated) }},
		{"pending", 409, "pending_order", func(b *bench) { b.service(holdfast.ServicePending) }},
		{"provisioning", 409, "vps_not_ready", func(b *bench) {
			b.tx(func(tx *store.Tx) error { return tx.SetPower(b.ctx(), b.vps.ID, holdfast.PowerProvisioning) })
		}},
		{"never came up", 409, "vps_not_ready", func(b *bench) {
			b.tx(func(tx *store.Tx) error { return tx.SetPower(b.ctx(), b.vps.ID, holdfast.PowerError) })
		}},
		{"a backup runs", 409, "operation_in_progress", func(b *bench) { b.call("POST", b.backups(), b.full, "").want(202, "") }},
		{"being deleted", 409, "operation_in_progress", func(b *bench) {
			_, err := b.control.DeleteVPS(b.ctx(), control.VPSInput{VPS: b.vps.ID.String()})
			b.ok(err)
		}},
		{"power does not shut it", 202, "", func(b *bench) {
			_, err := b.control.StopVPS(b.ctx(), control.StopVPSInput{VPS: b.vps.ID.String()})
			b.ok(err)
		}},
		{"no slot left", 409, "backup_quota_exceeded", func(b *bench) {
			for range 3 {
				b.insertBackup(b.vps)
			}
		}},
		{"no slots at all", 409, "backup_quota_exceeded", func(b *bench) { b.setAccount(control.SetAccountInput{BackupSlots: ptr(0)}) }},
		{"host silent", 503, "host_unavailable", func(b *bench) {
			b.mu.Lock()
			b.now = b.now.Add(2 * holdfast.HostAlive)
			b.mu.Unlock()
		}},
		{"host disabled", 503, "host_unavailable", func(b *bench) {
			_, err := b.control.EnableHost(b.ctx(), control.EnableHostInput{Host: "h1"})
			b.ok(err)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			c.shut(b)
			if got := b.gate(b.full, "canCreateBackup"); got != c.code {
				t.Errorf("the gate has %q, want %q", got, c.code)
			}
			a := b.call("POST", b.backups(), b.full, "").want(c.status, c.code)
			if (c.status == 503) != (a.header.Get("Retry-After") != "") {
				t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
			}
			if c.code == "operation_in_progress" {
				if job := a.text("extensions.jobId"); a.text("extensions.pollUrl") != "/api/jobs/"+job || a.text("extensions.type") == "" || a.at("extensions.cancellable") != (a.text("extensions.type") == "backup") {
					t.Errorf("extensions: %s", a.raw)
				}
			}
		})
	}
}

func (b *bench) service(s holdfast.ServiceStatus) {
	b.tx(func(tx *store.Tx) error { return tx.SetService(b.ctx(), b.vps.ID, s) })
}

func TestGatesByScope(t *testing.T) {
	b := newBench(t)
	b.insertBackup(b.vps)
	for name, codes := range map[string][3]string{ // read:vm; with backup:vm; with write:billing too
		"canCreateBackup":          {"forbidden", "", ""},
		"canRestore":               {"forbidden", "", ""},
		"canDelete":                {"forbidden", "", ""},
		"canRestoreToPayg":         {"forbidden", "forbidden", ""},
		"canRestoreInPlace":        {"forbidden", "", ""},
		"canRestoreFromAnotherVps": {"forbidden", "no_backups", "no_backups"},
	} {
		for i, scopes := range [][]string{{"read:vm"}, {"read:vm", "backup:vm"}, {"read:vm", "backup:vm", "write:billing"}} {
			k, err := b.control.CreateAPIKey(b.ctx(), control.CreateAPIKeyInput{Account: "main", Scopes: scopes})
			b.ok(err)
			if got := b.gate(k.Secret, name); got != codes[i] {
				t.Errorf("%s with %v: %q, want %q", name, scopes, got, codes[i])
			}
		}
	}
}

func TestGatesWithoutBackups(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"canRestore", "canRestoreToPayg", "canRestoreInPlace", "canRestoreFromAnotherVps", "canDelete"} {
		if got := b.gate(b.full, name); got != "no_backups" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestQuota(t *testing.T) {
	b := newBench(t)
	read := func() string {
		a := b.call("GET", b.backups(), b.full, "").want(200, "")
		return fmt.Sprint(a.at("quotaInfo.used"), a.at("quotaInfo.limit"), a.at("quotaInfo.remaining"))
	}
	if got := read(); got != "0 3 3" {
		t.Error(got)
	}
	b.insertBackup(b.vps)
	b.insertBackup(b.vps, func(bk *holdfast.Backup) { bk.Status = holdfast.BackupFailed })
	b.call("POST", b.backups(), b.full, "").want(202, "")
	if got := read(); got != "2 3 1" {
		t.Error("running and completed ones take a slot, failed ones do not:", got)
	}
	b.setAccount(control.SetAccountInput{BackupSlots: ptr(1)})
	if got := read(); got != "2 1 0" {
		t.Error(got)
	}
	b.setAccount(control.SetAccountInput{BackupSlots: ptr(-1)})
	if got := read(); got != "2 <nil> <nil>" {
		t.Error(got)
	}
}

// restore-to-payg: each reason has its code, its status, and is told by the gate.
func TestRestoreGate(t *testing.T) {
	limits := func(cpu, mem, storage, n int) control.SetAccountInput {
		return control.SetAccountInput{Limits: &control.LimitsPatch{CPUCores: &cpu, MemoryGb: &mem, StorageGb: &storage, Instances: &n}}
	}
	for _, c := range []struct {
		name     string
		status   int
		code     string
		blockers string
		set      control.SetAccountInput
	}{
		{"open", 202, "", "", control.SetAccountInput{}},
		{"inactive", 403, "account_inactive", "", control.SetAccountInput{Active: ptr(false)}},
		{"unpaid", 409, "has_unpaid_invoice", "has_unpaid_invoice", control.SetAccountInput{UnpaidInvoice: ptr(true)}},
		{"no card", 403, "no_card_on_file", "no_card_on_file", control.SetAccountInput{CardOnFile: ptr(false)}},
		{"not verified", 403, "not_verified", "not_verified", control.SetAccountInput{Verified: ptr(false)}},
		{"no access", 403, "no_cloud_access", "no_cloud_access", control.SetAccountInput{CloudAccess: ptr(false)}},
		{"all of them", 409, "has_unpaid_invoice", "has_unpaid_invoice no_card_on_file not_verified no_cloud_access",
			control.SetAccountInput{UnpaidInvoice: ptr(true), CardOnFile: ptr(false), Verified: ptr(false), CloudAccess: ptr(false)}},
		{"no instance", 403, "instance_limit_exceeded", "instance_limit_exceeded", limits(10, 10, 100, 0)},
		{"no core", 403, "cpu_limit_exceeded", "cpu_limit_exceeded", limits(0, 10, 100, 1)},
		{"no memory", 403, "memory_limit_exceeded", "memory_limit_exceeded", limits(2, 0, 100, 1)},
		{"no storage", 403, "storage_limit_exceeded", "storage_limit_exceeded", limits(2, 4, 79, 1)},
		{"just enough", 202, "", "", limits(2, 4, 80, 1)},
		// What holds for every size comes first: the gate and the call agree.
		{"default too large too", 403, "instance_limit_exceeded", "instance_limit_exceeded cpu_limit_exceeded", limits(1, 10, 100, 0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			path := b.backups() + "/" + b.insertBackup(b.vps).ID.String() + "/actions/restore-to-payg"
			b.setAccount(c.set)
			if got := b.gate(b.full, "canRestoreToPayg"); got != c.code {
				t.Errorf("the gate has %q, want %q", got, c.code)
			}
			a := b.call("POST", path, b.full, "").want(c.status, c.code)
			if c.blockers == "" {
				return
			}
			for _, at := range []string{"blockerReasons", "extensions.blockerReasons"} {
				if got := strings.Trim(fmt.Sprint(a.at(at)), "[]"); got != c.blockers {
					t.Errorf("%s: %s", at, got)
				}
			}
		})
	}
}

// A default that the limits forbid does not shut the gate, for a smaller Cloud
// VM is allowed.
func TestSmallerThanDefault(t *testing.T) {
	b := newBench(t)
	path := b.backups() + "/" + b.insertBackup(b.vps).ID.String() + "/actions/restore-to-payg"
	b.setAccount(control.SetAccountInput{Limits: &control.LimitsPatch{CPUCores: ptr(1)}})
	if got := b.gate(b.full, "canRestoreToPayg"); got != "" {
		t.Errorf("the gate is shut: %s", got)
	}
	b.call("POST", path, b.full, "").want(403, "cpu_limit_exceeded")
	b.call("POST", path, b.full, `{"cpuCores":1}`).want(202, "")
}

// It is the way out of a disaster: the state of the source does not matter.
func TestRestoreWhateverTheSourceIs(t *testing.T) {
	for name, harm := range map[string]func(*bench){
		"suspended":  func(b *bench) { b.service(holdfast.ServiceSuspended) },
		"terminated": func(b *bench) { b.service(holdfast.ServiceTerminated) },
		"busy":       func(b *bench) { b.call("POST", b.backups(), b.full, "").want(202, "") },
		"broken": func(b *bench) {
			b.tx(func(tx *store.Tx) error { return tx.SetPower(b.ctx(), b.vps.ID, holdfast.PowerError) })
		},
		"host gone": func(b *bench) {
			h, err := b.control.RegisterHost(b.ctx(), control.RegisterHostInput{Name: "h2", Region: "stockholm"})
			b.ok(err)
			_, err = b.control.EnableHost(b.ctx(), control.EnableHostInput{Host: "h1"})
			b.ok(err)
			b.ok(b.control.TouchHost(b.ctx(), holdfast.HostID(h.ID)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			bk := b.insertBackup(b.vps)
			harm(b)
			if got := b.gate(b.full, "canRestoreToPayg"); got != "" {
				t.Errorf("the gate is shut: %s", got)
			}
			b.call("POST", b.backups()+"/"+bk.ID.String()+"/actions/restore-to-payg", b.full, "").want(202, "")
			if list := b.call("GET", "/api/v2/vps", b.full, ""); !strings.Contains(string(list.raw), b.vps.ID.String()) {
				t.Error("the source is not listed")
			}
		})
	}
}

func TestPlacement(t *testing.T) {
	b := newBench(t)
	path := b.backups() + "/" + b.insertBackup(b.vps).ID.String() + "/actions/restore-to-payg"
	_, err := b.control.CreateRegion(b.ctx(), control.RegionInfo{ID: "empty"})
	b.ok(err)
	b.call("POST", path, b.full, `{"region":"empty"}`).want(503, "region_capacity_exhausted")
	register := func(capacity control.LimitsInfo) {
		_, err := b.control.RegisterHost(b.ctx(), control.RegisterHostInput{Name: "h1", Region: "stockholm", Driver: "sim", Capacity: capacity})
		b.ok(err)
	}
	for _, c := range []control.LimitsInfo{{Instances: 2}, {CPUCores: 5}, {MemoryGb: 11}, {StorageGb: 239}} { // two VPSs of 2, 4, 80 are there
		register(c)
		a := b.call("POST", path, b.full, "").want(503, "region_capacity_exhausted")
		if a.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	register(control.LimitsInfo{Instances: 3, CPUCores: 6, MemoryGb: 12, StorageGb: 240})
	b.call("POST", path, b.full, "").want(202, "")
	b.call("POST", path, b.full, "").want(503, "region_capacity_exhausted")
	b.mu.Lock()
	b.now = b.now.Add(time.Hour)
	b.mu.Unlock()
	b.call("POST", path, b.full, "").want(503, "host_unavailable")
}
