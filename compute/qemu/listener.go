package qemu

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// listener says which process listens on a unix socket of a machine. It has to
// be one that was started with a socket of that directory, lest a compromised
// hypervisor makes us take another process for its own.
func listener(socket string) (process, bool) {
	fi, err := os.Lstat(socket)
	if err != nil || fi.Mode().Type() != os.ModeSocket {
		return process{}, false
	}
	c, err := net.Dial("unix", socket)
	if err != nil {
		return process{}, false
	}
	defer c.Close() //nolint:errcheck // nothing was written
	pid, err := peerPID(c)
	if err != nil || pid == os.Getpid() {
		return process{}, false
	}
	p, ok := identify(pid)
	if !ok {
		return process{}, false
	}
	argv, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	ours := err == nil && bytes.Contains(argv, []byte(escape(filepath.Dir(socket))+"/"))
	return p, ours && p.alive()
}
