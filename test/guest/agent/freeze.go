package main

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// awaitGuestAgent returns when QEMU's guest agent, if it was started, has its
// channel open, so that a test that sees the guest ready can rely on it.
func awaitGuestAgent() error {
	if os.Getenv("GUEST_AGENT") == "" {
		return nil
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		open, err := filepath.Glob("/proc/[0-9]*/fd/*")
		if err != nil {
			return err
		}
		for _, link := range open {
			to, _ := os.Readlink(link) // the process may have ended
			if strings.HasPrefix(to, "/dev/vport") {
				return nil
			}
		}
	}
	return errors.New("the guest agent does not open its channel")
}

// delayFreeze makes QEMU's guest agent wait seconds= before it freezes, from
// now on; the file is what freeze-hook reads.
func delayFreeze(r *http.Request) (string, error) {
	seconds, err := number(r.URL.Query(), "seconds", 0)
	if err != nil {
		return "", err
	}
	return "ok", os.WriteFile("/tmp/freeze-delay", []byte(strconv.FormatInt(seconds, 10)), 0o600)
}
