package service

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"
)

// Answer of the API.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Decode reads the body into v.
func (a Answer) Decode(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(a.Body, v); err != nil {
		t.Fatalf("%v in %s", err, a.Body)
	}
}

// Call makes one request with a key; body is sent as JSON, nil for none.
func (s *Service) Call(t testing.TB, key, method, path string, body any) Answer {
	t.Helper()
	a, err := s.try(t, key, method, path, body)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", method, path, err, s.Log(t))
	}
	return a
}

// Want is Call that fails the test on another status.
func (s *Service) Want(t testing.TB, status int, key, method, path string, body any) Answer {
	t.Helper()
	a := s.Call(t, key, method, path, body)
	if a.Status != status {
		t.Fatalf("%s %s: %d instead of %d\n%s", method, path, a.Status, status, a.Body)
	}
	return a
}

func (s *Service) try(t testing.TB, key, method, path string, body any) (Answer, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	b, err := io.ReadAll(resp.Body)
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	return Answer{resp.StatusCode, resp.Header, b}, err
}

// Job is what the API says of a job.
type Job struct {
	Status          string
	JobID           string `json:"jobId"`
	Type            string
	ProgressDetails struct {
		Current, Total int64
		Message        string
	}
	Result   json.RawMessage
	Error    *Problem
	Resource struct{ Type, ID string }
}

// Problem of the API.
type Problem struct {
	Code, Detail string
	Status       int
	Errors       []struct{ Pointer, Detail, Code string }
}

// Queued reads the job of an operation envelope.
func (a Answer) Queued(t testing.TB) string {
	t.Helper()
	var e struct{ Operation Job }
	a.Decode(t, &e)
	if a.Status != http.StatusAccepted || e.Operation.JobID == "" {
		t.Fatalf("not accepted: %d %s", a.Status, a.Body)
	}
	return e.Operation.JobID
}

// Job reads a job; ok is false while the service does not answer.
func (s *Service) Job(t testing.TB, key, id string) (j Job, ok bool) {
	t.Helper()
	a, err := s.try(t, key, http.MethodGet, "/api/jobs/"+id, nil)
	if err != nil {
		return Job{}, false
	}
	if a.Status != http.StatusOK {
		t.Fatalf("job %s: %d %s", id, a.Status, a.Body)
	}
	a.Decode(t, &j)
	return j, true
}

// Await polls a job as a client does, until it has ended; the test fails when
// it does not end as completed.
func (s *Service) Await(t testing.TB, key, id string, within time.Duration) Job {
	t.Helper()
	j := s.Until(t, key, id, within, func(j Job) bool { return j.Status == "completed" || j.Status == "failed" })
	if j.Status != "completed" {
		t.Fatalf("job %s failed: %+v\n%s", id, j.Error, s.Log(t))
	}
	return j
}

// Until polls a job until it is as wanted, or has ended.
func (s *Service) Until(t testing.TB, key, id string, within time.Duration, wanted func(Job) bool) Job {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(within); ; {
		j, ok := s.Job(t, key, id)
		if ok && (wanted(j) || j.Status == "completed" || j.Status == "failed") {
			return j
		}
		if time.Now().After(deadline) {
			t.Fatalf("job %s is %+v after %s\n%s", id, j, within, s.Log(t))
		}
		<-tick.C
	}
}
