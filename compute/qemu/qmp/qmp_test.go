package qmp

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// play is a monitor that follows a script: lines "-> " are what it expects,
// "<- " what it says. It hangs up at the end.
func play(t *testing.T, script string) net.Conn {
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		r := bufio.NewReader(theirs)
		for line := range strings.Lines(script) {
			if say, ok := strings.CutPrefix(line, "<- "); ok {
				if _, err := theirs.Write([]byte(say)); err != nil {
					return
				}
			} else if want, ok := strings.CutPrefix(line, "-> "); ok {
				got, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			}
		}
	}()
	t.Cleanup(func() {
		_ = ours.Close()
		<-done
		goleak.VerifyNone(t)
	})
	return ours
}

func TestRecordedConversation(t *testing.T) {
	script, err := os.ReadFile("testdata/conversation.log")
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	q, err := New(ctx, play(t, string(script)))
	if err != nil {
		t.Fatal(err)
	}
	if q.Version() != (Version{7, 2, 22}) {
		t.Errorf("version %v", q.Version())
	}
	var st struct{ Status string }
	if err := q.Execute(ctx, "query-status", nil, &st); err != nil || st.Status != "running" {
		t.Errorf("status %q, %v", st.Status, err)
	}
	for _, c := range []struct{ command, event string }{{"stop", "STOP"}, {"cont", "RESUME"}} {
		if err := q.Execute(ctx, c.command, nil, nil); err != nil {
			t.Error(err)
		}
		if e := <-q.Events(); e.Name != c.event || e.Time.Year() < 2020 {
			t.Errorf("event %+v, want %s", e, c.event)
		}
	}
	var refused *Error
	err = q.Execute(ctx, "blockdev-del", map[string]string{"node-name": "none"}, nil)
	if !errors.As(err, &refused) || refused.Class != "GenericError" || refused.Command != "blockdev-del" {
		t.Errorf("got %v", err)
	}
	if err = q.Execute(ctx, "no-such-command", nil, nil); !errors.As(err, &refused) || refused.Class != "CommandNotFound" {
		t.Errorf("got %v", err)
	}
	if err := q.Execute(ctx, "quit", nil, nil); err != nil {
		t.Error(err)
	}
	<-q.Done()
	if err := q.Execute(ctx, "query-status", nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}

const hello = `<- {"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}
-> {"execute":"qmp_capabilities","id":1}
<- {"return": {}, "id": 1}
`

// The monitor of a compromised hypervisor process says anything.
func TestHostileMonitor(t *testing.T) {
	long := `<- {"event": "` + strings.Repeat("x", maxLine) + "\"}\n"
	for name, c := range map[string]struct {
		script string
		want   error
	}{
		"hangs up":             {"", ErrClosed},
		"not JSON":             {"<- SSH-2.0\n", ErrProtocol},
		"other JSON":           {"<- {}\n", ErrProtocol},
		"no capabilities":      {"<- {\"QMP\": {}}\n-> {\"execute\":\"qmp_capabilities\",\"id\":1}\n", ErrClosed},
		"garbage later":        {hello + "-> {\"execute\":\"x\",\"id\":2}\n<- [1,2\n", ErrProtocol},
		"answer without id":    {hello + "-> {\"execute\":\"x\",\"id\":2}\n<- {\"return\": {}}\n", ErrProtocol},
		"error without id":     {hello + "-> {\"execute\":\"x\",\"id\":2}\n<- {\"error\": {\"class\":\"a\",\"desc\":\"b\"}}\n", ErrProtocol},
		"neither nor":          {hello + "-> {\"execute\":\"x\",\"id\":2}\n<- {\"id\": 2}\n", ErrProtocol},
		"result of wrong type": {hello + "-> {\"execute\":\"x\",\"id\":2}\n<- {\"return\": [], \"id\": 2}\n", ErrProtocol},
		"endless line":         {hello + "-> {\"execute\":\"x\",\"id\":2}\n" + long, ErrClosed},
		"hangs up later":       {hello + "-> {\"execute\":\"x\",\"id\":2}\n", ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			q, err := New(t.Context(), play(t, c.script))
			if err == nil {
				err = q.Execute(t.Context(), "x", nil, &struct{ A int }{})
				if cerr := q.Close(); cerr != nil {
					t.Error(cerr)
				}
			}
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestContextLeavesACommand(t *testing.T) {
	script := hello + "-> {\"execute\":\"slow\",\"id\":2}\n-> {\"execute\":\"fast\",\"id\":3}\n<- {\"return\": {}, \"id\": 2}\n<- {\"return\": {}, \"id\": 3}\n"
	q, err := New(t.Context(), play(t, script))
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := q.Execute(ctx, "slow", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	// The connection goes on, and the late answer is nobody's.
	if err := q.Execute(t.Context(), "fast", nil, nil); err != nil {
		t.Error(err)
	}
}

// A monitor that serves another client does not greet.
func TestContextLeavesTheGreeting(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := New(ctx, ours); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestEventsAreBounded(t *testing.T) {
	var script strings.Builder
	script.WriteString(hello)
	for range 2 * maxEvents {
		script.WriteString("<- {\"event\": \"NOISE\"}\n")
	}
	script.WriteString("<- {\"event\": \"LAST\"}\n-> {\"execute\":\"x\",\"id\":2}\n<- {\"return\": {}, \"id\": 2}\n")
	q, err := New(t.Context(), play(t, script.String()))
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Execute(t.Context(), "x", nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
	var last Event
	n := 0
	for last = range q.Events() {
		n++
	}
	if n != maxEvents || last.Name != "LAST" {
		t.Errorf("%d events, the last is %q", n, last.Name)
	}
}

func TestConcurrentCommands(t *testing.T) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		w := bufio.NewWriter(theirs)
		_, _ = w.WriteString(`{"QMP": {"version": {"qemu": {"major": 7}}}}` + "\n")
		_ = w.Flush()
		sc := bufio.NewScanner(theirs)
		for sc.Scan() {
			id := sc.Text()[strings.LastIndex(sc.Text(), ":")+1:]
			_, _ = w.WriteString(`{"return": ` + strings.TrimSuffix(id, "}") + `, "id": ` + id + "\n")
			_ = w.Flush()
		}
	}()
	q, err := New(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := map[int]bool{}
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			var id int
			if err := q.Execute(t.Context(), "x", nil, &id); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[id] = true
		})
	}
	group.Wait()
	if len(seen) != 50 {
		t.Errorf("%d different answers", len(seen))
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}
