package vmtest

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestWaitHTTPWaitsForTheFirstGoodAnswer(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("up"))
	}))
	defer server.Close()
	if got, err := WaitHTTP(t.Context(), server.URL); err != nil || got != "up" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestWaitHTTPEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Millisecond)
	defer cancel()
	url := "http://127.0.0.1:1/"
	if _, err := WaitHTTP(ctx, url); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "refused") {
		t.Fatalf("got %v, want the deadline and the reason", err)
	}
}

func TestStraysFindsAProcessUntilItHasEnded(t *testing.T) {
	directory := t.TempDir()
	script := directory + "/wait"
	if err := os.WriteFile(script, []byte("read -r line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), "sh", script)
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	left, err := Strays(directory)
	if err != nil || len(left) != 1 || left[0].PID != child.Process.Pid {
		t.Fatalf("got %v, %v; want process %d", left, err, child.Process.Pid)
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	// Not waited for yet: a zombie is not a stray.
	NoStrays(t, directory)
	_ = child.Wait() // read fails at the end of its input
}
