package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeAgent speaks as a guest's agent does. Everything it says may be hostile.
type fakeAgent struct {
	l      net.Listener
	answer func(command string) string // "" for none

	mu   sync.Mutex
	said []string // the commands it has done, in order
}

func listenAgent(t *testing.T, answer func(string) string) (*fakeAgent, freezer) {
	t.Helper()
	socket := testConfig(t).Root + ".agent"
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	a := &fakeAgent{l: l, answer: answer}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for { // one client at a time, as QEMU has it
			c, err := l.Accept()
			if err != nil {
				return
			}
			a.serve(c)
		}
	}()
	f := newFreezer(socket)
	f.again = time.Millisecond
	return a, f
}

func (a *fakeAgent) serve(c net.Conn) {
	defer c.Close()
	for sc := bufio.NewScanner(c); sc.Scan(); {
		var cmd struct {
			Execute   string
			Arguments struct{ ID int64 }
		}
		_ = json.Unmarshal([]byte(strings.TrimPrefix(sc.Text(), "\xff")), &cmd)
		said := a.answer(cmd.Execute)
		a.mu.Lock()
		a.said = append(a.said, cmd.Execute)
		a.mu.Unlock()
		if said == "id" {
			said = fmt.Sprintf("\xff{\"return\":%d}", cmd.Arguments.ID)
		}
		if said != "" {
			_, _ = fmt.Fprintln(c, said)
		}
	}
}

func (a *fakeAgent) count(command string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.said {
		if s == command {
			n++
		}
	}
	return n
}

const (
	cmdSync   = "guest-sync-delimited"
	cmdFreeze = "guest-fsfreeze-freeze"
	cmdThaw   = "guest-fsfreeze-thaw"
)

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestFreezerInTime(t *testing.T) {
	for _, c := range []struct {
		freeze, thaw string
		held         bool
	}{
		{`{"return":2}`, `{"return":2}`, true},
		{`{"return":2}`, `{"return":0}`, false}, // it had thawed by itself
	} {
		_, f := listenAgent(t, func(cmd string) string {
			return map[string]string{cmdSync: "id", cmdFreeze: c.freeze, cmdThaw: c.thaw}[cmd]
		})
		if said := f.freeze(t.Context(), func() {}); said != dogFrozen || !f.owed {
			t.Fatalf("%q, %+v", said, f)
		}
		if f.thawWithin(thawWait); f.owed || f.held != c.held {
			t.Errorf("%s: %+v", c.thaw, f)
		}
	}
}

// TestFreezerLate is the hard case: the freeze that was given up succeeds later.
// The thaw lies in the channel behind it, and the freezer stays until it knows.
func TestFreezerLate(t *testing.T) {
	freezing := make(chan struct{})
	a, f := listenAgent(t, func(cmd string) string {
		if cmd == cmdFreeze {
			<-freezing
		}
		return map[string]string{cmdSync: "id", cmdFreeze: `{"return":1}`, cmdThaw: `{"return":1}`}[cmd]
	})
	ctx, cancel := context.WithCancel(t.Context())
	said := f.freeze(ctx, func() { time.AfterFunc(50*time.Millisecond, cancel) })
	if !strings.HasPrefix(said, dogOpen) || !f.owed {
		t.Fatalf("%q, %+v", said, f)
	}
	if f.thawWithin(50 * time.Millisecond); !f.owed {
		t.Fatal("the thaw is said to be done while the guest freezes")
	}
	close(freezing)
	if f.thawWithin(thawWait); f.owed || f.held {
		t.Errorf("%+v", f)
	}
	// The blind one and that which was waited for.
	if n := a.count(cmdThaw); n != 2 {
		t.Errorf("%d thaws: %q", n, a.said)
	}
}

// TestFreezerRefused: whatever a guest says to a freeze, a thaw is asked for,
// and what it says to that ends.
func TestFreezerRefused(t *testing.T) {
	for name, says := range map[string]string{
		"no": `{"error":{"desc":"disabled"}}`, "nothing frozen": `{"return":0}`, "nonsense": "}{", "less than nothing": `{"return":-1}`,
	} {
		a, f := listenAgent(t, func(cmd string) string {
			if cmd == cmdSync {
				return "id"
			}
			return says
		})
		if said := f.freeze(t.Context(), func() {}); !strings.HasPrefix(said, dogOpen) {
			t.Errorf("%s: %q", name, said)
		}
		if f.thawWithin(20 * time.Second); f.owed || f.held {
			t.Errorf("%s: %+v", name, f)
		}
		if n := a.count(cmdThaw); n < 2 || n > maxRefusals+2 {
			t.Errorf("%s: %d thaws", name, n)
		}
	}
}

// TestFreezerSilent: a guest that never answers keeps the freezer as long as it
// runs, and no longer.
func TestFreezerSilent(t *testing.T) {
	a, f := listenAgent(t, func(cmd string) string { return "" })
	begun := false
	if said := f.freeze(within(t, 50*time.Millisecond), func() { begun = true }); !strings.HasPrefix(said, dogOpen) || f.owed || begun {
		t.Errorf("without an answer to the sync nothing is frozen: %q, %+v", said, f)
	}
	f.owed = true
	if f.thawWithin(50 * time.Millisecond); !f.owed {
		t.Error("nobody has thawed")
	}
	f.drop()
	if err := a.l.Close(); err != nil {
		t.Fatal(err)
	}
	if f.thawWithin(thawWait); f.owed {
		t.Error("the machine has ended, and takes its frozen file systems with it")
	}
}
