package qemu

import (
	"net"
	"os"
)

// listener says which process listens on a unix socket.
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
	return identify(pid)
}
