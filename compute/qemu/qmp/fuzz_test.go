package qmp

import (
	"context"
	"encoding/json"
	"net"
	"testing"
	"time"
)

// FuzzMonitor plays any bytes as a hypervisor that a guest has taken over:
// requests end, with an error or not, nothing panics, and the events that
// nobody reads stay few.
func FuzzMonitor(f *testing.F) {
	const hello = `{"QMP":{"version":{"qemu":{"major":10,"minor":0,"micro":2}},"capabilities":[]}}` + "\n"
	for _, s := range []string{
		"", "x\n", hello,
		hello + `{"return":{},"id":1}` + "\n" + `{"return":{"a":1},"id":2}` + "\n",
		hello + `{"return":{},"id":1}` + "\n" + `{"error":{"class":"GenericError","desc":"no"},"id":2}` + "\n",
		hello + `{"return":{},"id":1}` + "\n" + `{"event":"STOP","timestamp":{"seconds":-1,"microseconds":9223372036854775807}}` + "\n" + `{"return":{},"id":7}` + "\n",
		hello + `{"return":{},"id":1}` + "\n" + `{"id":2}` + "\n" + `{"return":null,"id":2}`,
		hello + `{"error":null,"return":[],"id":1,"event":""}` + "\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		ours, theirs := net.Pipe()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		done := make(chan struct{})
		go monitor(theirs, sent, done)
		if q, err := New(ctx, ours); err == nil {
			var answer map[string]json.RawMessage
			_ = q.Execute(ctx, "query-block", nil, &answer)
			if n := len(q.Events()); n > maxEvents {
				t.Errorf("%d events are kept", n)
			}
			_ = q.Close()
		}
		_ = ours.Close()
		<-done
		if ctx.Err() != nil {
			t.Error("a request hung")
		}
	})
}

// monitor sends, hears whatever comes, and hangs up.
func monitor(c net.Conn, sent []byte, done chan<- struct{}) {
	defer close(done)
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		buf := make([]byte, 4096)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	}()
	_, _ = c.Write(sent)
	_ = c.Close()
	<-heard
}
