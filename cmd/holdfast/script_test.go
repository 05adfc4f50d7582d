package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"holdfast": main}) }

// The scripts run the real program; the hypervisor is the simulated one.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:      filepath.Join("testdata", "script"),
		Deadline: time.Now().Add(2 * time.Minute), // for a service that should have refused to start
		Setup: func(e *testscript.Env) error {
			path, err := exec.LookPath("holdfast") // put into $PATH by testscript.Main
			e.Values[backgroundKey{}] = &background{path: path}
			golden, gerr := filepath.Abs(filepath.Join("..", "..", "test", "compat", "testdata"))
			e.Setenv("GOLDEN", golden)
			return errors.Join(err, gerr)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"start": startService, "halt": stopService, "status": wantStatus, "json": fromJSON,
			"logged": wantLogged, "mode": wantMode, "truncate": makeFile, "other": otherServer,
		},
	})
}

// background is the service that a script has started, and its environment.
type background struct {
	path string // of the program
	cmd  *exec.Cmd
	log  string
	done chan error
}

type backgroundKey struct{}

func started(ts *testscript.TestScript) *background {
	b, ok := ts.Value(backgroundKey{}).(*background)
	if !ok {
		ts.Fatalf("no background")
	}
	return b
}

// startService starts a service on $WORK/data, or the directory named, and
// waits until it answers at $URL. $SERVE are its arguments, those of $MORE among
// them.
func startService(ts *testscript.TestScript, _ bool, args []string) {
	data := ts.MkAbs("data")
	if len(args) > 0 {
		data = args[0]
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	address := l.Addr().String()
	ts.Check(l.Close())
	serve := []string{"--data", data, "--listen", address, "--set", "host.driver=sim", "--set", "operations.lease=2s"}
	serve = append(serve, strings.Fields(ts.Getenv("MORE"))...)
	ts.Setenv("URL", "http://"+address)
	if len(args) == 0 {
		ts.Setenv("SERVE", strings.Join(serve, " "))
	}
	b := started(ts)
	b.log, b.done = ts.MkAbs("service.log"), make(chan error, 1)
	log, err := os.Create(b.log)
	ts.Check(err)
	cmd := exec.Command(b.path, append([]string{"serve"}, serve...)...) // #nosec G204 -- ourselves
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, ts.Getenv("WORK")
	ts.Check(cmd.Start())
	b.cmd = cmd
	go func() { b.done <- errors.Join(cmd.Wait(), log.Close()) }()
	ts.Defer(func() {
		if b.cmd == cmd {
			_ = cmd.Process.Kill() // it may have ended meanwhile
			ts.Logf("the service was killed: %v", <-b.done)
		}
	})
	awaitService(ts, b, "http://"+address+"/healthz")
}

func awaitService(ts *testscript.TestScript, b *background, url string) {
	for deadline := time.Now().Add(20 * time.Second); ; {
		resp, err := http.Get(url) //nolint:noctx,gosec // bounded by the deadline; it is ours
		if err == nil {
			ts.Check(resp.Body.Close())
			return
		}
		select {
		case err := <-b.done:
			b.cmd = nil
			ts.Fatalf("the service ended: %v\n%s", err, ts.ReadFile(b.log))
		case <-time.After(10 * time.Millisecond): // nobody tells when it listens
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the service does not answer: %v", err)
		}
	}
}

// stopService ends the service gracefully; it must end well.
func stopService(ts *testscript.TestScript, _ bool, _ []string) {
	b := started(ts)
	ts.Check(b.cmd.Process.Signal(syscall.SIGTERM))
	b.cmd = nil
	select {
	case err := <-b.done:
		ts.Check(err)
	case <-time.After(20 * time.Second):
		ts.Fatalf("the service does not end\n%s", ts.ReadFile(b.log))
	}
}

// wantStatus runs a command that must end with a status: status N command args.
func wantStatus(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	var given []string
	for _, a := range args[2:] {
		if strings.HasPrefix(a, "--data ") { // $SERVE is several
			given = append(given, strings.Fields(a)...)
		} else {
			given = append(given, a)
		}
	}
	got := 0
	if exit, failed := errors.AsType[*exec.ExitError](ts.Exec(args[1], given...)); failed {
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("status %d instead of %d", got, want)
	}
}

// fromJSON takes a value out of what the last command printed: json VAR path.
func fromJSON(ts *testscript.TestScript, _ bool, args []string) {
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	for name := range strings.SplitSeq(args[1], ".") {
		switch at := v.(type) {
		case []any:
			i, err := strconv.Atoi(name)
			ts.Check(err)
			v = at[i]
		case map[string]any:
			v = at[name]
		}
	}
	text, ok := v.(string)
	if !ok || text == "" {
		ts.Fatalf("no %s", args[1])
	}
	ts.Setenv(args[0], text)
}

// wantLogged looks for a pattern in what the service has logged.
func wantLogged(ts *testscript.TestScript, neg bool, args []string) {
	if regexp.MustCompile(args[0]).MatchString(ts.ReadFile(started(ts).log)) == neg {
		ts.Fatalf("logged %v, %v", args[0], !neg)
	}
}

func wantMode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s", args[1], got)
	}
}

// makeFile makes a file of zeros: truncate FILE BYTES.
func makeFile(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), make([]byte, n), 0o600))
}

// otherServer answers at $OTHER: a proxy without a service behind it, which
// would like to have the operator's key sent elsewhere.
func otherServer(ts *testscript.TestScript, _ bool, _ []string) {
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ts.Logf("STOLEN: %s", r.Header.Get("Authorization"))
	}))
	proxy := httptest.NewServer(http.RedirectHandler(thief.URL, http.StatusTemporaryRedirect))
	ts.Defer(thief.Close)
	ts.Defer(proxy.Close)
	ts.Setenv("OTHER", proxy.URL)
}
