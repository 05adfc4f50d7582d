package api_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"holdfast"
	"holdfast/api"
	"holdfast/control"
)

func rate(perMinute, burst int) benchOption {
	return func(o *api.Options, _ *control.Options) { o.Rate = api.Rate{PerMinute: perMinute, Burst: burst} }
}

// routes of the public API and the scopes that each needs, all of them.
func (b *bench) routes(bk holdfast.Backup) []struct{ method, path, scopes string } {
	vps := "/api/v2/vps/" + b.vps.ID.String()
	return []struct{ method, path, scopes string }{
		{"GET", "/api/v2/vps", "read:vm"},
		{"GET", vps, "read:vm"},
		{"GET", vps + "/backups", "read:vm"},
		{"POST", vps + "/backups", "backup:vm"},
		{"POST", vps + "/backups/" + bk.ID.String() + "/actions/restore-to-payg", "backup:vm write:billing"},
		{"POST", vps + "/backups/" + bk.ID.String() + "/actions/restore", "backup:vm"},
		{"GET", vps + "/backups/restore-sources", "read:vm"},
		{"POST", vps + "/backups/actions/restore-from-vps", "backup:vm"},
		{"POST", vps + "/actions/undo-restore", "backup:vm"},
		{"DELETE", vps + "/backups/" + bk.ID.String(), "backup:vm"},
		{"POST", vps + "/actions/start", "power:vm"},
		{"POST", vps + "/actions/shutdown", "power:vm"},
		{"POST", vps + "/actions/stop", "power:vm"},
		{"POST", vps + "/actions/restart", "power:vm"},
		{"POST", vps + "/actions/reset", "power:vm"},
		{"GET", vps + "/snapshots", "read:vm"},
		{"POST", vps + "/snapshots", "backup:vm"},
		{"POST", vps + "/snapshots/a/actions/restore", "backup:vm"},
		{"DELETE", vps + "/snapshots/a", "backup:vm"},
		{"GET", vps + "/snapshot-schedules", "read:vm"},
		{"POST", vps + "/snapshot-schedules", "write:vm"},
		{"DELETE", vps + "/snapshot-schedules", "write:vm"},
	}
}

func TestEveryRouteRefusesWhoMayNot(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	bk := b.insertBackup(b.vps)
	for _, r := range b.routes(bk) {
		b.call(r.method, r.path, "", "").want(401, "unauthorized")
		for _, bad := range []string{"nonsense", holdfast.NewSecret(holdfast.APIKeyPrefix), holdfast.NewSecret(holdfast.OperatorKeyPrefix), strings.Repeat("x", 4096)} {
			b.call(r.method, r.path, bad, "").want(401, "unauthorized")
		}
		b.call(r.method, r.path, b.operator, "").want(403, "forbidden")
		// Every set of scopes that lacks one of those needed, and none with all.
		for _, scope := range holdfast.AllScopes() {
			have := holdfast.Scopes{scope}
			need, err := holdfast.ParseScopes(r.scopes)
			b.ok(err)
			if have.Has(need...) {
				continue
			}
			k, err := b.control.CreateAPIKey(b.ctx(), control.CreateAPIKeyInput{Account: "main", Scopes: []string{string(scope)}})
			b.ok(err)
			// The scope comes before ownership and before the body.
			b.call(r.method, r.path, k.Secret, "not json").want(403, "forbidden")
			b.call(r.method, strings.Replace(r.path, b.vps.ID.String(), "vps_x", 1), k.Secret, "").want(403, "forbidden")
		}
	}
	// With exactly the scopes named each is let in.
	for _, r := range b.routes(bk) {
		k, err := b.control.CreateAPIKey(b.ctx(), control.CreateAPIKeyInput{Account: "main", Scopes: strings.Fields(r.scopes)})
		b.ok(err)
		if a := b.call(r.method, r.path, k.Secret, ""); a.status == 401 || a.status == 403 {
			t.Errorf("%s %s with %s: %d", r.method, r.path, r.scopes, a.status)
		}
	}
}

func TestAnothersResourceDoesNotExist(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	mine, theirs := b.insertBackup(b.vps), b.insertBackup(b.foreign)
	second := b.insertVPS(b.account, "web-02")
	b.vps.ID, second.ID = second.ID, b.vps.ID // paths below are of the second VPS, backups of the first
	wrongParent := mine.ID.String()
	for _, c := range []struct{ vps, backup, code string }{
		{b.foreign.ID.String(), theirs.ID.String(), "vps_not_found"},
		{holdfast.NewID[holdfast.VPSID]().String(), mine.ID.String(), "vps_not_found"},
		{b.vps.ID.String(), theirs.ID.String(), "backup_not_found"},
		{b.vps.ID.String(), wrongParent, "backup_not_found"},
		{b.vps.ID.String(), holdfast.NewID[holdfast.BackupID]().String(), "backup_not_found"},
	} {
		base := "/api/v2/vps/" + c.vps
		if c.code == "vps_not_found" {
			b.call("GET", base, b.full, "").want(404, c.code)
			b.call("GET", base+"/backups", b.full, "").want(404, c.code)
			b.call("POST", base+"/backups", b.full, "").want(404, c.code)
			b.call("POST", base+"/backups", b.full, "not json").want(404, c.code)
			b.call("POST", base+"/backups", b.full, "x", header{"Content-Type": "text/plain"}).want(404, c.code)
			b.call("GET", base+"/backups/restore-sources", b.full, "").want(404, c.code)
			b.call("POST", base+"/actions/undo-restore", b.full, "not json").want(404, c.code)
		}
		b.call("DELETE", base+"/backups/"+c.backup, b.full, "").want(404, c.code)
		b.call("POST", base+"/backups/"+c.backup+"/actions/restore-to-payg", b.full, `{"cpuCores":-1}`).want(404, c.code)
		b.call("POST", base+"/backups/"+c.backup+"/actions/restore", b.full, `{"x":-1}`).want(404, c.code)
		from := fmt.Sprintf(`{"sourceVpsId":%q,"backupId":%q,"x":1}`, second.ID, c.backup)
		if c.backup != wrongParent { // that one is of this source
			b.call("POST", base+"/backups/actions/restore-from-vps", b.full, from).want(404, c.code)
		}
	}
	list := b.call("GET", "/api/v2/vps", b.otherKey, "").want(200, "")
	if s := string(list.raw); strings.Contains(s, b.vps.ID.String()) || strings.Contains(s, second.ID.String()) || !strings.Contains(s, b.foreign.ID.String()) {
		t.Errorf("the other account's list: %s", s)
	}
}

func TestMalformedIDs(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	bk := b.insertBackup(b.vps)
	vps := b.vps.ID.String()
	for _, id := range []string{
		"x", "vps_", "vps_" + strings.Repeat("0", 25), "vps_" + strings.Repeat("0", 27), strings.ToUpper(vps), "vps_" + strings.Repeat("z", 26),
		"VPS_" + vps[4:], vps[4:], "bkp_" + vps[4:], "vps_" + strings.Repeat("u", 26), "0", "-1", "'", "null", strings.Repeat("a", 5000),
	} {
		b.call("GET", "/api/v2/vps/"+id, b.full, "").want(404, "vps_not_found")
		b.call("POST", "/api/v2/vps/"+id+"/backups", b.full, "").want(404, "vps_not_found")
		b.call("DELETE", "/api/v2/vps/"+vps+"/backups/"+id, b.full, "").want(404, "backup_not_found")
		b.call("POST", "/api/v2/vps/"+vps+"/backups/"+id+"/actions/restore-to-payg", b.full, "").want(404, "backup_not_found")
		b.call("GET", "/api/jobs/"+id, b.full, "").want(404, "job_not_found")
		b.call("POST", "/api/jobs/"+id+"/actions/cancel", b.full, "not json").want(404, "job_not_found")
	}
	b.call("DELETE", "/api/v2/vps/"+vps+"/backups/"+bk.ID.String(), b.full, "").want(204, "")
}

func TestCredentials(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	job := b.call("POST", "/api/v2/vps/"+b.vps.ID.String()+"/backups", b.backup, "").want(202, "").text("operation.pollUrl")
	b.call("GET", "/api/v2/vps", "", "", header{"Authorization": "bearer " + b.full}).want(200, "")
	for _, h := range []string{b.full, "Basic " + b.full, "Bearer", "Bearer ", "Bearer " + b.full + " x", "Bearer " + b.full + "x"} {
		b.call("GET", "/api/v2/vps", "", "", header{"Authorization": h}).want(401, "unauthorized")
	}
	// The alias works for jobs only, and is no way out of a bad Bearer.
	b.call("GET", job, "", "", header{"X-API-Key": b.full}).want(200, "")
	b.call("GET", "/api/v2/vps", "", "", header{"X-API-Key": b.full}).want(401, "unauthorized")
	b.call("GET", job, "", "", header{"X-API-Key": b.full, "Authorization": "Bearer x"}).want(401, "unauthorized")

	twice := httptest.NewRequestWithContext(b.ctx(), "GET", "/api/v2/vps", nil)
	twice.Header["Authorization"] = []string{"Bearer " + b.full, "Bearer " + b.full}
	b.send(twice).want(401, "unauthorized")
}

func TestRevokedAndExpiredKeys(t *testing.T) {
	b := newBench(t)
	keys, err := b.control.ListAPIKeys(b.ctx(), control.AccountInput{Account: "main"})
	b.ok(err)
	b.call("GET", "/api/v2/vps", b.full, "").want(200, "")
	_, err = b.control.RevokeAPIKey(b.ctx(), control.RevokeAPIKeyInput{Account: "main", Key: keys[0].ID})
	b.ok(err)
	b.call("GET", "/api/v2/vps", b.full, "").want(401, "unauthorized")

	until := b.clock().Add(time.Hour).UTC().Format(time.RFC3339)
	k, err := b.control.CreateAPIKey(b.ctx(), control.CreateAPIKeyInput{Account: "main", Scopes: []string{"read:vm"}, ExpiresAt: &until})
	b.ok(err)
	b.call("GET", "/api/v2/vps", k.Secret, "").want(200, "")
	b.pass(time.Hour + time.Second)
	b.call("GET", "/api/v2/vps", k.Secret, "").want(401, "unauthorized")
	if strings.Contains(b.logged.String(), k.Secret) {
		t.Error("a secret was logged")
	}
}

func TestRateLimits(t *testing.T) {
	b := newBench(t, rate(60, 3))
	for range 3 {
		b.call("GET", "/api/v2/vps", b.full, "").want(200, "")
	}
	b.call("GET", "/api/v2/vps", b.full, "").want(429, "rate_limited")
	b.call("GET", "/api/v2/nothing", b.full, "").want(429, "rate_limited")
	b.call("GET", "/api/v2/vps", b.read, "").want(200, "") // another key of the account
	b.pass(time.Second)
	b.call("GET", "/api/v2/vps", b.full, "").want(200, "")

	// Guessing keys is limited by address, and locks out nobody with a key.
	b.pass(time.Minute)
	for range 3 {
		b.call("GET", "/api/v2/vps", "guess", "").want(401, "unauthorized")
	}
	b.call("GET", "/api/v2/vps", "guess", "").want(429, "rate_limited")
	b.call("GET", "/openapi.json", "", "").want(429, "rate_limited")
	b.call("GET", "/healthz", "", "").want(200, "") // probes are not counted
	b.call("GET", "/api/v2/vps", b.full, "").want(200, "")
}

func TestLimitByNetwork(t *testing.T) {
	b := newBench(t, rate(60, 1))
	from := func(addr string) int {
		r := httptest.NewRequestWithContext(b.ctx(), "GET", "/openapi.json", nil)
		r.RemoteAddr = addr
		return b.send(r).status
	}
	for _, c := range []struct {
		addr string
		want int
	}{
		{"198.51.100.1:1", 200}, {"198.51.100.1:2", 429}, {"[::ffff:198.51.100.1]:3", 429}, {"198.51.100.2:1", 200},
		{"[2001:db8:1::1]:1", 200}, {"[2001:db8:1::ffff]:1", 429}, {"[2001:db8:2::1]:1", 200}, {"@", 200}, {"@", 429},
	} {
		if got := from(c.addr); got != c.want {
			t.Errorf("%s: %d, want %d", c.addr, got, c.want)
		}
	}
}
