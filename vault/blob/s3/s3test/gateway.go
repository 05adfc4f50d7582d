// Package s3test starts S3 servers for tests: versitygw, a real one in a process of its own, and gofakes3 in this one.
package s3test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"holdfast/vault/blob/s3"
)

// The keys of the servers started here.
const (
	AccessKey  = "holdfasttest"
	SecretText = "a secret of tests only"
)

// SecretKey of the servers started here.
func SecretKey() s3.Secret { return s3.NewSecret(SecretText) }

// Server is a running S3 server.
type Server struct {
	Endpoint string
	Dir      string // of the buckets; "" for the fake

	pid int
	log *syncBuffer
}

// Gateway starts versitygw on a directory of its own, with versions and object
// lock, and ends it with the test.
func Gateway(tb testing.TB) *Server {
	tb.Helper()
	return start(tb, tb.TempDir())
}

// FullGateway starts versitygw on a file system of a few MiB, which is mounted
// in a namespace of its own.
func FullGateway(tb testing.TB) *Server {
	tb.Helper()
	dir := tb.TempDir()
	return start(tb, dir, "unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
		`mount -t tmpfs -o size=4m tmpfs "$0" && mkdir "$0/buckets" "$0/versions" && exec "$@"`, dir)
}

// start runs versitygw, as the arguments of another command if there is one.
func start(tb testing.TB, dir string, within ...string) *Server {
	tb.Helper()
	buckets, versions := filepath.Join(dir, "buckets"), filepath.Join(dir, "versions")
	if len(within) == 0 {
		for _, d := range []string{buckets, versions} {
			if err := os.Mkdir(d, 0o700); err != nil {
				tb.Fatal(err)
			}
		}
	}
	binary := gateway(tb)
	for range 5 { // another process may take the port that was free
		addr := freePort(tb)
		s := &Server{Endpoint: "http://" + addr, Dir: buckets, log: &syncBuffer{}}
		args := append(slices.Clone(within), binary, "--quiet", "--keep-alive", "--port", addr, "posix", "--versioning-dir", versions, buckets)
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = []string{"ROOT_ACCESS_KEY=" + AccessKey, "ROOT_SECRET_KEY=" + SecretText, "PATH=" + os.Getenv("PATH")}
		cmd.Stdout, cmd.Stderr = s.log, s.log
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			tb.Fatal(err)
		}
		s.pid = cmd.Process.Pid
		over := make(chan struct{})
		go func() {
			_ = cmd.Wait() // it is killed in the end
			close(over)
		}()
		tb.Cleanup(func() {
			_ = cmd.Process.Kill()
			<-over
		})
		if answers(addr, over) {
			return s
		}
		tb.Logf("versitygw did not start: %s", s.log)
	}
	tb.Fatal("versitygw does not start")
	return nil
}

func gateway(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
	}
	binary := filepath.Join(dir, "build/bin/versitygw")
	if _, err := os.Stat(binary); err != nil {
		tb.Fatalf("%v: run make build/bin/versitygw", err)
	}
	return binary
}

func freePort(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// answers reports whether a server takes connections before it ends.
func answers(addr string, over <-chan struct{}) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return true
		}
		select {
		case <-over:
			return false
		case <-limit:
			return false
		case <-tick.C:
		}
	}
}

// Pid of the server's process.
func (s *Server) Pid() int { return s.pid }

// Bucket makes a bucket and returns what opens it. With lock, it keeps versions
// and can retain them.
func (s *Server) Bucket(tb testing.TB, name string, lock bool) s3.Config {
	tb.Helper()
	addr := s.Endpoint[len("http://"):]
	c, err := minio.New(addr, &minio.Options{Creds: credentials.NewStaticV4(AccessKey, SecretText, ""), Region: "us-east-1", BucketLookup: minio.BucketLookupPath})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	if err := c.MakeBucket(ctx, name, minio.MakeBucketOptions{ObjectLocking: lock}); err != nil {
		tb.Fatalf("make bucket: %v\n%s", err, s.log)
	}
	return s3.Config{Endpoint: s.Endpoint, Bucket: name, PathStyle: true, AccessKey: AccessKey, SecretKey: SecretKey(), Versions: lock}
}

// syncBuffer holds the end of what a server says.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer; it keeps 64 KiB.
func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf.Len() > 64<<10 {
		b.buf.Reset()
	}
	return b.buf.Write(p)
}

// String returns what is kept.
func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
