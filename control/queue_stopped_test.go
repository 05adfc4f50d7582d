package control_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast"
	"holdfast/control"
	"holdfast/internal/testpg"
	"holdfast/operation"
	"holdfast/store"
)

const (
	stoppedDB   = "HOLDFAST_TEST_STOPPED_DB"
	stoppedHost = "HOLDFAST_TEST_STOPPED_HOST"
	stoppedTTL  = time.Second
)

// TestStoppedRunner: a runner's process is stopped (SIGSTOP) in the middle of
// its work, for longer than its lease; a successor ends the operation; when the
// first goes on, nothing that it writes counts and it leaves off.
func TestStoppedRunner(t *testing.T) {
	if path := os.Getenv(stoppedDB); path != "" {
		stoppedRunner(t, path, holdfast.HostID(os.Getenv(stoppedHost)))
		return
	}
	w := newQueueWorld(t)
	s, q := openSteady(t, w.path)
	_, backup := w.backup()
	first := exec.Command(os.Args[0], "-test.run=^TestStoppedRunner$", "-test.v")
	first.Env = append(os.Environ(), stoppedDB+"="+testpg.At(t, w.path), "HOLDFAST_TEST_DATABASE=sqlite", stoppedHost+"="+string(w.host))
	first.Stderr = os.Stderr
	// When the test ends early, so does its child.
	first.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := first.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := first.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	until := func(want string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("the first runner did not say %q: %v", want, lines.Err())
	}
	until("working")
	if err := first.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	took := make(chan int64, 1)
	second := operation.NewRunner(q, operation.Config{Name: "second", Host: w.host, TTL: stoppedTTL, Poll: 20 * time.Millisecond}, map[holdfast.Kind]operation.Handler{
		holdfast.KindBackup: func(_ context.Context, run *operation.Run) (any, error) {
			var by string
			if found, err := run.Load("begun", &by); err != nil || !found || by != "first" {
				return nil, fmt.Errorf("the journal says %q, %w", by, err)
			}
			took <- run.Epoch()
			return goodBackup(), nil
		},
	})
	ended := make(chan error, 1)
	go func() { ended <- second.Run(ctx) }()
	select {
	case epoch := <-took:
		if epoch < 2 { // a busy machine may take it from the second, too
			t.Errorf("epoch %d", epoch)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nobody took over")
	}
	if d := time.Since(stopped); d > 2*stoppedTTL {
		t.Logf("the takeover took %v", d) // a busy machine is no failure
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}

	if err := first.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(in, "go on"); err != nil {
		t.Fatal(err)
	}
	until("lost")
	until("PASS")
	if err := first.Wait(); err != nil {
		t.Fatal(err)
	}
	b, err := s.Backup(t.Context(), backup)
	if err != nil || b.Status != holdfast.BackupCompleted || b.Point != "p1" {
		t.Errorf("%+v, %v", b, err)
	}
}

// openSteady opens the database with the real clocks.
func openSteady(t *testing.T, path string) (*store.Store, *control.Queue) {
	t.Helper()
	s, err := store.Open(t.Context(), testpg.At(t, path), store.WithReserve(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, control.NewQueue(s, slog.New(slog.DiscardHandler))
}

// stoppedRunner is the first runner, in its own process.
func stoppedRunner(t *testing.T, path string, host holdfast.HostID) {
	_, q := openSteady(t, path)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	r := operation.NewRunner(q, operation.Config{Name: "first", Host: host, TTL: stoppedTTL, Poll: 20 * time.Millisecond}, map[holdfast.Kind]operation.Handler{
		holdfast.KindBackup: func(hctx context.Context, run *operation.Run) (any, error) {
			defer stop()
			if err := run.Save(hctx, "begun", "first"); err != nil {
				return nil, err
			}
			fmt.Fprintln(os.Stdout, "working")
			if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
				return nil, err
			}
			// Straight to the door, past the runner's own clock: the fence alone
			// must hold.
			l := operation.Lease{Job: run.Operation.ID, Epoch: run.Epoch(), Runner: "first"}
			bad := goodBackup()
			bad.Point = "late"
			_, renew := q.Renew(t.Context(), l, stoppedTTL, holdfast.Progress{})
			for what, err := range map[string]error{
				"renew": renew, "journal": q.Journal(t.Context(), l, "begun", []byte(`"late"`)),
				"finish": q.Finish(t.Context(), l, operation.Outcome{Report: report(bad)}), "save": run.Save(t.Context(), "x", 1),
			} {
				if !errors.Is(err, operation.ErrLeaseLost) {
					t.Errorf("%s after the stop: %v", what, err)
				}
			}
			<-hctx.Done()
			if !errors.Is(context.Cause(hctx), operation.ErrLeaseLost) {
				t.Errorf("the handler's context ended by %v", context.Cause(hctx))
			}
			fmt.Fprintln(os.Stdout, "lost")
			return bad, nil
		},
	})
	if err := r.Run(ctx); err != nil {
		t.Error(err)
	}
}
