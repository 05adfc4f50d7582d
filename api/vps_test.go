package api_test

import (
	"testing"
)

func TestGetVPS(t *testing.T) {
	b := newBench(t)
	a := b.call("GET", "/api/v2/vps/"+b.vps.ID.String(), b.read, "").want(200, "")
	t.Logf("%s", a.raw)
	a = b.call("GET", "/api/v2/vps", b.read, "").want(200, "")
	t.Logf("%s", a.raw)
	a = b.call("POST", "/api/v2/vps/"+b.vps.ID.String()+"/backups", b.backup, "").want(202, "")
	t.Logf("%s", a.raw)
	a = b.call("GET", a.text("operation.pollUrl"), b.backup, "").want(200, "")
	t.Logf("%s", a.raw)
	a = b.call("GET", "/api/v2/vps/"+b.vps.ID.String()+"/backups", b.read, "").want(200, "")
	t.Logf("%s", a.raw)
	bk := b.insertBackup(b.vps)
	a = b.call("POST", "/api/v2/vps/"+b.vps.ID.String()+"/backups/"+bk.ID.String()+"/actions/restore-to-payg", b.billing, "").want(202, "")
	t.Logf("%s", a.raw)
}
