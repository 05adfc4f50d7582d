package store_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"holdfast"
	"holdfast/internal/testpg"
	"holdfast/store"
)

// A server that is away is told as such, and no password is.
func TestAnUnreachableServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]error{
		"postgres://bob:hunter2@" + closed + "/db":           store.ErrUnreachable,
		"postgres://bob@" + closed + "/db?password=hunter2":  store.ErrUnreachable,
		"postgres://bob:hunter2@" + closed + "/db?sslmode=x": nil,
		"postgres://bob:hunter2%zz@" + closed + "/db":        nil,
	} {
		s, err := store.Open(t.Context(), url)
		if err == nil {
			t.Fatal(s.Close(), "opened")
		}
		if want != nil && !errors.Is(err, want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
}

// A command makes no database of what it does not find.
func TestExisting(t *testing.T) {
	path := t.TempDir() + "/DB"
	if testpg.On() {
		// The server has one of its own, which nobody has written.
		parts := strings.SplitN(testpg.At(t, path), "?", 2)
		path = "postgres:///postgres?" + parts[1]
	}
	if s, err := store.Open(t.Context(), path, store.Existing()); !errors.Is(err, store.ErrNotFound) {
		if err == nil {
			err = s.Close()
		}
		t.Errorf("opened, or not for the right reason: %v", err)
	}
}

// What one process queues wakes the runners of another, on a server.
func TestOtherProcessesAreWoken(t *testing.T) {
	if !testpg.On() {
		return // the file of SQLite has one process that works
	}
	path := t.TempDir()
	one, two := openAt(t, path), openAt(t, path)
	w := newWorld(t, one)
	own, other := one.Queued(), two.Queued()
	write(t, one, func(ctx context.Context, tx *store.Tx) error {
		return tx.InsertOperation(ctx, w.operation(w.vps(t), holdfast.KindBackup, holdfast.LockNone))
	})
	for what, woken := range map[string]<-chan struct{}{"another process": other, "its own": own} {
		select {
		case <-woken:
		case <-time.After(20 * time.Second):
			t.Errorf("%s is not woken", what)
		}
	}
	// A transaction that did not take effect wakes nobody: what it says goes with it.
	woken := two.Queued()
	failed := errors.New("not this one")
	err := one.Tx(t.Context(), func(tx *store.Tx) error {
		return errors.Join(tx.InsertOperation(t.Context(), w.operation(w.vps(t), holdfast.KindBackup, holdfast.LockNone)), failed)
	})
	if !errors.Is(err, failed) {
		t.Fatal(err)
	}
	select {
	case <-woken:
		t.Error("woken by nothing")
	case <-time.After(100 * time.Millisecond):
	}
}

// A customer writes what it likes for an id, and so into a path that is a key.
func TestLongPathsAreKeys(t *testing.T) {
	s := open(t)
	w := newWorld(t, s)
	long := strings.Repeat("/x", 30_000)
	first := func(path string) bool {
		t.Helper()
		var first bool
		write(t, s, func(ctx context.Context, tx *store.Tx) (err error) {
			k := store.IdempotencyKey{Account: w.account.ID, Caller: "c", Method: "POST", Path: path, Key: "k"}
			_, first, err = tx.BeginIdempotent(ctx, k, "f", "o")
			return err
		})
		return first
	}
	for i, path := range []string{long, long + "y", "/short"} {
		if !first(path) || first(path) {
			t.Error(fmt.Sprint("path ", i))
		}
	}
}
