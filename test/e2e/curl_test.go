package e2e

import (
	"bytes"
	"net/http"
	"os/exec"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"holdfast/test/service"
)

// The curl lines of the published reference, letter by letter. A client that
// was written by them must work when it is pointed at this service.
const (
	curlBackup = `curl -X POST "https://cloud.hostup.se/api/v2/vps/vps_01hxa3b4c5d6e7f8g9h0j1k2m3/backups" \
  -H "Authorization: Bearer YOUR_API_KEY" \
  -H "Accept: application/json" \
  -H "Content-Type: application/json" \
  -d '{
    "note": "Before upgrade"
  }'`
	curlRestore = `curl -X POST "https://cloud.hostup.se/api/v2/vps/vps_01hxa3b4c5d6e7f8g9h0j1k2m3/backups/bkp_01hxa3b4c5d6e7f8g9h0j1k2m3/actions/restore-to-payg" \
  -H "Authorization: Bearer YOUR_API_KEY" \
  -H "Accept: application/json"`
)

// TestCurl runs these lines with the real curl against the real binary; what
// runs the machines does not matter for that, so it is the simulator.
func TestCurl(t *testing.T) {
	s := service.New(t, service.Set("host.driver", "sim"))
	owner := s.NewAccount(t, "owner")
	vps := s.NewVPS(t, owner.ID, rawImage(t, s, "small", mib), "web-01", true)
	published := strings.NewReplacer(
		"https://cloud.hostup.se", s.URL, "YOUR_API_KEY", owner.Key, "vps_01hxa3b4c5d6e7f8g9h0j1k2m3", vps)
	backup := s.Await(t, owner.Key, curl(t, published.Replace(curlBackup)), patience)
	var b service.BackupResult
	service.Answer{Body: backup.Result}.Decode(t, &b)
	var list struct{ Backups []struct{ ID, Note string } }
	s.Want(t, http.StatusOK, owner.Key, http.MethodGet, "/api/v2/vps/"+vps+"/backups", nil).Decode(t, &list)
	if len(list.Backups) != 1 || list.Backups[0].ID != b.BackupID || list.Backups[0].Note != "Before upgrade" {
		t.Errorf("the backups are %+v", list)
	}
	line := strings.ReplaceAll(published.Replace(curlRestore), "bkp_01hxa3b4c5d6e7f8g9h0j1k2m3", b.BackupID)
	var made struct{ VPSID string }
	service.Answer{Body: s.Await(t, owner.Key, curl(t, line), patience).Result}.Decode(t, &made)
	if !strings.HasPrefix(made.VPSID, "vps_") || made.VPSID == vps {
		t.Errorf("the restore made %q", made.VPSID)
	}
}

var (
	jobID   = regexp.MustCompile(`^job_[0-9a-hjkmnp-tv-z]{26}$`)
	request = regexp.MustCompile(`(?i)\r?\nx-request-id: req_[0-9a-hjkmnp-tv-z]{26}\r?\n`)
)

// curl runs the line, which must be answered 202 with an operation as it is
// documented, and returns its job.
func curl(t *testing.T, line string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", strings.Replace(line, "curl ", "curl --silent --show-error --include ", 1)) // #nosec G204 -- our own words
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("curl: %v: %s (if it is missing: apt-get install --no-install-recommends curl)", err, stderr.Bytes())
	}
	head, body, _ := strings.Cut(string(out), "\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 202 ") || !strings.Contains(strings.ToLower(head), "\r\ncontent-type: application/json") || !request.MatchString(head+"\r\n") {
		t.Fatalf("the answer is\n%s", out)
	}
	var got map[string]map[string]any
	service.Answer{Body: []byte(body)}.Decode(t, &got)
	id, _ := got["operation"]["jobId"].(string)
	want := map[string]map[string]any{"operation": {
		"status": "queued", "jobId": id, "pollUrl": "/api/jobs/" + id, "result": nil,
	}}
	if !jobID.MatchString(id) || !reflect.DeepEqual(got, want) {
		t.Fatalf("the operation is %s", body)
	}
	return id
}
