package vmtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// FreePort is a TCP port on 127.0.0.1 that was free a moment ago.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // returns at once
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return port
}

// client makes a connection for every request: a forwarded port accepts before
// the guest listens, and a kept connection would hide a restarted guest.
var client = &http.Client{
	Transport: &http.Transport{DisableKeepAlives: true},
}

// WaitHTTP asks until url answers 200, and returns the answer; a guest that
// boots refuses, resets or hangs before that. The error of a context that ended
// carries the last reason.
func WaitHTTP(ctx context.Context, url string) (string, error) {
	// There is no event for a guest's listener but the answer itself.
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		attempt, cancel := context.WithTimeout(ctx, 3*time.Second)
		body, err := Get(attempt, url)
		cancel()
		if err == nil {
			return body, nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("wait for %s: %w: %w", url, ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// Get asks once; any status but 200 is an error with the answer in it.
func Get(ctx context.Context, url string) (string, error) {
	return do(ctx, http.MethodGet, url, nil)
}

// Put sends body once; any status but 200 is an error with the answer in it.
func Put(ctx context.Context, url string, body io.Reader) (string, error) {
	return do(ctx, http.MethodPut, url, body)
}

// maxAnswer bounds what is read from a guest.
const maxAnswer = 16 << 20

func do(ctx context.Context, method, url string, body io.Reader) (string, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s %s: %s: %s", method, url, response.Status, text)
	}
	return string(text), nil
}
