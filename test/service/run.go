package service

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Run runs a command of the binary over the service's data directory, and
// returns what it printed; the test fails when the command does.
func (s *Service) Run(t testing.TB, args ...string) []byte {
	t.Helper()
	out, err := s.Try(t, args...)
	if err != nil {
		t.Fatalf("holdfast %s: %v\n%s", strings.Join(args, " "), err, s.Log(t))
	}
	return out
}

// Alone runs a command that knows nothing of the service.
func (s *Service) Alone(t testing.TB, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), s.binary, args...) // #nosec G204 -- our own binary
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("holdfast %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// Try is Run for a command that may fail.
func (s *Service) Try(t testing.TB, args ...string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.binary, append(args, s.where()...)...) // #nosec G204 -- our own binary
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.Bytes(), fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

// where finds the service's installation: its directories, but not its address.
// What slows the service down for a test is not to slow down the test.
func (s *Service) where() []string {
	args := []string{"--data", s.Dir}
	for i, a := range s.settings {
		if a == "--set" {
			args = append(args, a, s.settings[i+1])
		}
	}
	return append(args, "--set", "vault.bytes_per_second=0")
}
