// Command agent is process 1 of the test guest: it serves HTTP on port 80 with
// what tests need to change and to judge the guest, and powers the guest off
// when its power button is pressed. It trusts its callers; it runs nowhere but
// in a throw-away guest.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
)

func main() {
	if err := run(); err != nil {
		fmt.Println("GUEST-FAILED", err)
	}
	powerOff()
}

// run serves until something fails.
func run() error {
	name, err := hostname()
	if err != nil {
		return err
	}
	if err := syscall.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("set hostname: %w", err)
	}
	go watchPowerButton()

	listener, err := net.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	if err := awaitGuestAgent(); err != nil {
		return err
	}
	boots, err := os.ReadFile("/boots")
	if err != nil {
		return err
	}
	// The kernel queues connections from here on, so the marker is honest.
	fmt.Printf("GUEST-READY hostname=%s boots=%s", name, boots)
	return http.Serve(listener, routes()) //nolint:gosec // no client to defend against here
}

// hostname is the value of hostname= on the kernel's command line.
func hostname() (string, error) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return "", err
	}
	for word := range strings.FieldsSeq(string(line)) {
		if name, ok := strings.CutPrefix(word, "hostname="); ok && name != "" {
			return name, nil
		}
	}
	return "guest", nil
}
