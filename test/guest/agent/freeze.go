package main

import (
	"net/http"
	"os"
	"strconv"
)

// delayFreeze makes QEMU's guest agent wait seconds= before it freezes, from
// now on; the file is what freeze-hook reads.
func delayFreeze(r *http.Request) (string, error) {
	seconds, err := number(r.URL.Query(), "seconds", 0)
	if err != nil {
		return "", err
	}
	return "ok", os.WriteFile("/tmp/freeze-delay", []byte(strconv.FormatInt(seconds, 10)), 0o600)
}
