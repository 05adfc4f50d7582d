package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// guest answers each line of a conversation with what f says; what it says
// comes from a guest, and so may be anything.
func guest(t *testing.T, f func(line string, w io.Writer)) *Client {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		for sc := bufio.NewScanner(theirs); sc.Scan(); {
			f(sc.Text(), theirs)
		}
	}()
	a := New(ours)
	t.Cleanup(func() { _ = a.Close() })
	return a
}

func id(line string) int64 {
	var c struct {
		Arguments struct {
			ID int64 `json:"id"`
		} `json:"arguments"`
	}
	_ = json.Unmarshal([]byte(strings.TrimPrefix(line, "\xff")), &c)
	return c.Arguments.ID
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestFreezeAndThaw(t *testing.T) {
	var said []string
	a := guest(t, func(line string, w io.Writer) {
		switch {
		case strings.HasPrefix(line, "\xff"):
			// What QEMU's agent does: it complains of the delimiter, and there is
			// the answer to a former conversation's freeze and sync before it.
			fmt.Fprintf(w, `{"error":{"desc":"stray"}}`+"\n"+`{"return":3}`+"\n\xff"+`{"return":%d}`+"\n\xff"+`{"return":%d}`+"\n", id(line)+1, id(line))
		case strings.Contains(line, "guest-fsfreeze-freeze"):
			fmt.Fprintln(w, `{"return":2}`)
		default:
			fmt.Fprintln(w, `{"error":{"class":"GenericError","desc":"no"}}`)
		}
		said = append(said, line)
	})
	if err := a.Sync(soon(t)); err != nil {
		t.Fatal(err)
	}
	if n, err := a.Freeze(soon(t)); n != 2 || err != nil {
		t.Errorf("frozen: %d, %v", n, err)
	}
	_, err := a.Thaw(soon(t))
	if refused, ok := errors.AsType[*Error](err); !ok || refused.Desc != "no" || refused.Command != "guest-fsfreeze-thaw" {
		t.Errorf("refused: %v", err)
	}
	if err := a.Sync(soon(t)); err != nil {
		t.Errorf("after a refusal: %v", err)
	}
}

// A hostile guest reaches all of these.
func TestHostileGuest(t *testing.T) {
	flood := func(what string) func(string, io.Writer) {
		return func(_ string, w io.Writer) {
			for {
				if _, err := io.WriteString(w, what); err != nil {
					return
				}
			}
		}
	}
	say := func(what string) func(string, io.Writer) {
		return func(_ string, w io.Writer) { _, _ = io.WriteString(w, what) }
	}
	for name, c := range map[string]struct {
		f    func(string, io.Writer)
		sync error
		call error
	}{
		"endless line":    {flood(strings.Repeat("x", 4096)), ErrProtocol, ErrProtocol},
		"endless answers": {flood(strings.Repeat("\xff{\"return\":1}\n", 500)), ErrProtocol, ErrProtocol},
		"silence":         {say(""), context.DeadlineExceeded, context.DeadlineExceeded},
		"half an answer":  {say(`{"return":1`), context.DeadlineExceeded, context.DeadlineExceeded},
		"wrong id":        {say("\xff{\"return\":1}\n"), context.DeadlineExceeded, ErrProtocol},
		"no JSON":         {say("hello\n"), context.DeadlineExceeded, ErrProtocol},
		"a text":          {say("{\"return\":\"all\"}\n"), context.DeadlineExceeded, ErrProtocol},
		"a huge number":   {say("{\"return\":1e99}\n"), context.DeadlineExceeded, ErrProtocol},
		"neither":         {say("{}\n"), context.DeadlineExceeded, ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if errors.Is(c.sync, context.DeadlineExceeded) {
				ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
			}
			if err := guest(t, c.f).Sync(ctx); !errors.Is(err, c.sync) {
				t.Errorf("sync: %v", err)
			}
			ctx, cancel = context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if errors.Is(c.call, context.DeadlineExceeded) {
				ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
			}
			if _, err := guest(t, c.f).Freeze(ctx); !errors.Is(err, c.call) {
				t.Errorf("freeze: %v", err)
			}
		})
	}
}

// TestGuestThatDoesNotRead: a write is bounded as a read is, and a cancelled
// call ends at once.
func TestGuestThatDoesNotRead(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	a := New(ours)
	defer a.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := a.ThawBlindly(ctx); err == nil {
		t.Error("nobody read it")
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := a.Thaw(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
