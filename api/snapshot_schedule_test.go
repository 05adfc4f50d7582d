package api_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast"
)

func TestSnapshotSchedule(t *testing.T) {
	b := newBench(t)
	path := "/api/v2/vps/" + b.vps.ID.String() + "/snapshot-schedules"
	a := b.call("GET", path, b.read, "").want(200, "")
	if a.at("schedule") != nil || a.at("limits.totalSnapshots") != 8.0 || a.at("available") != true || a.at("reason") != nil {
		t.Errorf("%s", a.raw)
	}
	b.call("DELETE", path, b.full, "").want(404, "schedule_not_found")
	for body, want := range map[string]string{
		`{"enabled":true,"intervalHours":6.99}`: "true 6", `{"enabled":true,"intervalHours":-3}`: "true 4", `{"intervalHours":1000}`: "true 24",
		`{"enabled":false}`: "false 24", `{"enabled":false,"intervalHours":5}`: "false 5", `{}`: "true 24", ``: "true 24",
	} {
		a := b.call("POST", path, b.full, body).want(200, "")
		if got := fmt.Sprint(a.at("schedule.enabled"), " ", a.at("schedule.intervalHours")); got != want || a.at("schedule.lastRun") != nil || (a.at("schedule.nextRun") == nil) != strings.HasPrefix(want, "false") {
			t.Errorf("%s: %s", body, a.raw)
		}
		if got := b.call("GET", path, b.read, "").at("schedule"); fmt.Sprint(got) != fmt.Sprint(a.at("schedule")) {
			t.Errorf("%s: read as %v", body, got)
		}
		b.call("DELETE", path, b.full, "").want(204, "")
		b.call("DELETE", path, b.full, "").want(404, "schedule_not_found")
	}
	b.call("POST", path, b.full, `{"intervalHours":6}`).want(200, "")
	next := b.call("GET", path, b.full, "").text("schedule.nextRun")
	b.pass(time.Second)
	if got := b.call("POST", path, b.full, `{"intervalHours":6.5}`).want(200, "").text("schedule.nextRun"); got != next {
		t.Errorf("what changed nothing moved the next run from %s to %s", next, got)
	}
	b.service(holdfast.ServiceSuspended)
	if got := b.gateIn(path, b.full, "canEnable"); got != "service_suspended" {
		t.Errorf("suspended: %q", got)
	}
	b.call("POST", path, b.full, `{"intervalHours":8}`).want(409, "service_suspended")
	b.call("POST", path, b.full, `{"enabled":false}`).want(200, "")
}
