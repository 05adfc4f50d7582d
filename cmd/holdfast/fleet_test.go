package main

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/testpg"
	"holdfast/test/service"
)

// Two services on one PostgreSQL database, each with a host of its own: an account
// of the one is one of the other, and a backup of either's VPS is asked for through
// the other.
func TestTwoServicesOnOneDatabase(t *testing.T) {
	database := testpg.Database(t)
	one, a, vps, _ := newService(t, service.Set("database", database), service.Set("host.name", "one"))
	beside := map[string]string{
		"database": database, "host.name": "two", "host.driver": "sim", "host.machines": filepath.Join(t.TempDir(), "sim"),
		"site": filepath.Join(one.Dir, "vault"), "master_key": filepath.Join(one.Dir, "master.key"),
	}
	var options []service.Option
	third := []string{"serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--accelerator", "tcg"}
	for name, value := range beside {
		options = append(options, service.Set(name, value))
		third = append(third, "--set", name+"="+value)
	}
	two := service.New(t, options...)

	// Asked of one, the other knows it; sixteen at once at both take effect once.
	job := two.Backup(t, a.Key, vps)
	if j := one.Until(t, a.Key, job, 30*time.Second, func(j service.Job) bool { return j.Status == "completed" }); j.JobID != job {
		t.Errorf("%+v", j)
	}
	var wg sync.WaitGroup
	answers := make([]service.Answer, 16)
	for i := range answers {
		s := []*service.Service{one, two}[i%2]
		wg.Go(func() { answers[i] = askOnce(t, s.URL+"/api/v2/vps/"+vps+"/backups", a.Key, "same") })
	}
	wg.Wait()
	for _, x := range answers {
		if x.Status != http.StatusAccepted || x.Queued(t) != answers[0].Queued(t) {
			t.Errorf("%d %s", x.Status, x.Body)
		}
	}
	two.Until(t, a.Key, answers[0].Queued(t), 30*time.Second, func(j service.Job) bool { return j.Status == "completed" })

	// Nobody else may be a host that is there.
	if said := refused(t, 4, third...); !strings.Contains(said, "Another service runs as host two") {
		t.Error(said)
	}
	// A command finds the service on the database, wherever it is run.
	if said := string(one.Run(t, "admin", "host", "list")); !strings.Contains(said, "one") || !strings.Contains(said, "two") {
		t.Error(said)
	}
}

// askOnce posts with a name for the request; it may be called by many at once.
func askOnce(t *testing.T, url, key, name string) (out service.Answer) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
	if err != nil {
		t.Error(err)
		return out
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Idempotency-Key", name)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return out
	}
	defer resp.Body.Close()
	out.Status = resp.StatusCode
	out.Body, err = io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return out
}
