// Package testpg runs the tests of a package on both databases: first on SQLite,
// then once more on a PostgreSQL server of its own.
package testpg

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

// databaseVariable chooses one database, "sqlite" or "postgres", for a run of few
// tests; without it both have their turn.
const databaseVariable = "HOLDFAST_TEST_DATABASE"

// server of the second turn; nil in the first.
var server *lazy

// lazy starts the server with the first database that is asked for, so that runs
// without one wait for nothing.
type lazy struct {
	prepare func(ctx context.Context, url string) error

	mu      sync.Mutex
	cluster *cluster
	err     error
	named   map[string]string   // URLs by path
	models  map[string]bool     // paths that others are copies of
	idle    map[string][]string // URLs of databases as new, by the path that they are copies of
}

// Run runs all tests twice and gives the exit status: for TestMain. prepare brings
// the schema into an empty database; it is called once, on the database that all
// others are copies of.
func Run(m *testing.M, prepare func(ctx context.Context, url string) error) int {
	which := os.Getenv(databaseVariable)
	if which != "postgres" {
		if code := m.Run(); code != 0 || which == "sqlite" || once() {
			return code
		}
	}
	server = &lazy{prepare: prepare, named: map[string]string{}, models: map[string]bool{}, idle: map[string][]string{}}
	code := m.Run()
	if err := server.stop(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "testpg:", err)
		return max(code, 1)
	}
	if code != 0 {
		_, _ = fmt.Fprintln(os.Stderr, "testpg: these failures are on PostgreSQL")
	}
	return code
}

// once reports whether the tests are to run on one database only: fuzzing,
// benchmarks and lists are no tests.
func once() bool {
	for _, name := range []string{"test.fuzz", "test.fuzzworker", "test.bench", "test.list"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != f.DefValue {
			return true
		}
	}
	return false
}

// On reports whether the tests have their turn on PostgreSQL. What a file of
// SQLite's alone can show has been shown in the first turn.
func On() bool { return server != nil }

// At is what a test opens for a file of its own: the file itself on SQLite, and
// the database that takes its place on PostgreSQL, always the same one for a path.
// What it gave stays as it is, so that a test can hand it to its child.
func At(t testing.TB, path string) string {
	t.Helper()
	if !On() || strings.HasPrefix(path, "postgres://") {
		return path
	}
	return server.at(t, path, "")
}

// CopyAt is At for a database that begins as a copy of that of another path, which
// nobody has open.
func CopyAt(t testing.TB, path, from string) string {
	t.Helper()
	return server.at(t, path, from)
}

// Database is an empty database on a server of the test's own: for programs that are
// tested as a whole.
func Database(t testing.TB) string {
	t.Helper()
	c, err := start(func(context.Context, string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.stop(); err != nil {
			t.Error(err)
		}
	})
	url, err := c.create("")
	if err != nil {
		t.Fatal(err)
	}
	return url
}

func (l *lazy) at(t testing.TB, path, from string) string {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if url, known := l.named[path]; known {
		return url
	}
	if l.cluster == nil && l.err == nil {
		l.cluster, l.err = start(l.prepare)
	}
	if l.err != nil {
		t.Fatal(l.err)
	}
	if from != "" {
		l.models[from] = true
	}
	var url string
	if idle := l.idle[from]; len(idle) > 0 {
		url, l.idle[from] = idle[len(idle)-1], idle[:len(idle)-1]
	} else {
		var err error
		if url, err = l.cluster.create(l.named[from]); err != nil {
			t.Fatal(err)
		}
	}
	l.named[path] = url
	t.Cleanup(func() { l.leave(path, from, url) })
	return url
}

// leave makes the database of a test that has ended as it was, for another test: that
// takes a tenth of the time of making one. One that cannot be is used no more.
func (l *lazy) leave(path, from, url string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.models[path] {
		return
	}
	delete(l.named, path)
	if l.cluster.restore(url) == nil {
		l.idle[from] = append(l.idle[from], url)
	}
}

func (l *lazy) stop() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cluster == nil {
		return l.err
	}
	return l.cluster.stop()
}
