// Package service runs the real binary for tests: it starts, kills and restarts
// a service in a directory of its own, calls its API, and ends with the proof
// that nothing was left behind.
package service

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/vmtest"
)

// Service is one service of a test. Its methods are for the test's goroutine.
type Service struct {
	Dir string // the data directory; short, for sockets lie below it
	URL string // of the API

	binary   string
	settings []string
	environ  []string
	process  *exec.Cmd
	ended    chan struct{}
	log      *os.File
}

// Option changes a service before it starts.
type Option func(*Service)

// Set gives a setting, such as "host.driver", "sim".
func Set(name, value string) Option {
	return func(s *Service) { s.settings = append(s.settings, "--set", name+"="+value) }
}

// Env adds to the environment of the service, as name=value.
func Env(kv ...string) Option {
	return func(s *Service) { s.environ = append(s.environ, kv...) }
}

// Binary uses another build of the service.
func Binary(path string) Option { return func(s *Service) { s.binary = path } }

// New prepares a service and starts it. When the test ends, the service is
// stopped, its machines are deleted, and no process of it may be left.
func New(t testing.TB, options ...Option) *Service {
	t.Helper()
	s := &Service{}
	for _, o := range options {
		o(s)
	}
	dir, err := os.MkdirTemp("/tmp", "hf") // short: sockets have 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the data directory: %v", err)
		}
	})
	s.Dir = dir
	if s.binary == "" {
		s.binary = Build(t)
	}
	port := vmtest.FreePort(t)
	first := vmtest.FreePort(t)
	first = 20000 + first%9000
	s.URL = fmt.Sprintf("http://127.0.0.1:%d", port)
	s.settings = append([]string{
		"--data", s.Dir, "--listen", fmt.Sprintf("127.0.0.1:%d", port), "--accelerator", "tcg",
		"--set", "operations.lease=2s",
		"--set", fmt.Sprintf("host.first_port=%d", first), "--set", fmt.Sprintf("host.last_port=%d", first+100),
		"--set", "payg.min_storage_gb=1",
	}, s.settings...)
	log, err := os.Create(filepath.Join(s.Dir, "service.log"))
	if err != nil {
		t.Fatal(err)
	}
	s.log = log
	t.Cleanup(func() { s.end(t) })
	s.Start(t)
	return s
}

// Start starts the service and waits until it answers.
func (s *Service) Start(t testing.TB) {
	t.Helper()
	cmd := exec.Command(s.binary, append([]string{"serve"}, s.settings...)...) // #nosec G204 -- our own binary
	cmd.Stdout, cmd.Stderr = s.log, s.log
	cmd.Env = append(os.Environ(), s.environ...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
	}()
	s.process, s.ended = cmd, ended
	// Not the test's context: a test that ends starts the service to clean up.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go func() { // a service that ends at once need not be waited for
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	if _, err := vmtest.WaitHTTP(ctx, s.URL+"/healthz"); err != nil && !s.Ended() {
		t.Fatalf("the service does not answer: %v\n%s", err, s.Log(t))
	} else if s.Ended() {
		t.Fatalf("the service ended at its start\n%s", s.Log(t))
	}
}

// Override gives settings anew, from the next start on; the last one counts.
func (s *Service) Override(name, value string) {
	s.settings = append(s.settings, "--set", name+"="+value)
}

// Environ replaces what was added to the environment, from the next start on.
func (s *Service) Environ(kv ...string) { s.environ = kv }

// PID of the service's process.
func (s *Service) PID() int { return s.process.Process.Pid }

// Ended says whether the process has gone.
func (s *Service) Ended() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// Gone is closed when the process has gone.
func (s *Service) Gone() <-chan struct{} { return s.ended }

// Kill ends the process by SIGKILL.
func (s *Service) Kill(t testing.TB) { s.signal(t, syscall.SIGKILL) }

// Stop ends the process gracefully.
func (s *Service) Stop(t testing.TB) { s.signal(t, syscall.SIGTERM) }

func (s *Service) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if s.Ended() {
		return
	}
	if err := s.process.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	select {
	case <-s.ended:
	case <-time.After(40 * time.Second):
		t.Fatalf("the service did not end\n%s", s.Log(t))
	}
}

// Log is what the service has logged.
func (s *Service) Log(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(s.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 20000 {
		b = append([]byte("…"), b[len(b)-20000:]...)
	}
	return string(b)
}

// client does not follow redirects: the API has none.
var client = &http.Client{
	Timeout:       time.Minute,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}
