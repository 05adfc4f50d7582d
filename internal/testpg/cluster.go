package testpg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	role     = "holdfast"
	template = "prepared"
	// patience is how long a server may take to start or end on a loaded machine.
	patience = time.Minute
)

// cluster is a running PostgreSQL server in a directory of its own. It is reached
// by a unix socket that only its user, and root, may open.
type cluster struct {
	dir   string
	as    *syscall.SysProcAttr
	guard *exec.Cmd
	stdin io.Closer
	made  int
}

// start makes a cluster and the database that others are copies of. PostgreSQL
// refuses to run as root: then it runs as nobody.
func start(prepare func(ctx context.Context, url string) error) (_ *cluster, err error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	// The path of a socket has 107 bytes at most: not below t.TempDir.
	c := &cluster{as: &syscall.SysProcAttr{Setpgid: true}}
	if c.dir, err = os.MkdirTemp("", "hfpg"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.stop())
		}
	}()
	if err := c.own(); err != nil {
		return nil, err
	}
	if err := c.initialise(bin); err != nil {
		return nil, err
	}
	if err := c.run(bin); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	if err := c.exec(ctx, "CREATE DATABASE "+template); err != nil {
		return nil, err
	}
	if err := prepare(ctx, c.url(template)); err != nil {
		return nil, fmt.Errorf("prepare a database: %w", err)
	}
	return c, nil
}

// programs is the directory of the newest server that Debian has installed.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return "", errors.Join(errors.New("PostgreSQL is missing; run: apt-get install --no-install-recommends postgresql"), err)
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(strings.Split(path, "/")[4]) // no number is no version
		return n
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(newest), nil
}

// own gives the directory to the user that the server runs as.
func (c *cluster) own() error {
	if os.Getuid() != 0 {
		return nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return err
	}
	uid, uerr := strconv.ParseUint(nobody.Uid, 10, 32)
	gid, gerr := strconv.ParseUint(nobody.Gid, 10, 32)
	if err := errors.Join(uerr, gerr); err != nil {
		return err
	}
	c.as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(c.dir, int(uid), int(gid)) //nolint:gosec // ids have 32 bits
}

// initialise makes the data directory. The order of texts is that of a language,
// as on most servers: what needs the order of bytes has to say so.
func (c *cluster) initialise(bin string) error {
	cmd := exec.Command(filepath.Join(bin, "initdb"), "-D", c.data(), "-U", role, "-A", "trust", "-E", "UTF8",
		"--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US", "--no-sync", "--no-instructions")
	cmd.SysProcAttr, cmd.Dir, cmd.Env = c.as, c.dir, environment()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// run starts the server below a shell that ends it, and removes what it leaves,
// when its standard input ends: that is when this process does, however it dies.
func (c *cluster) run(bin string) error {
	const script = `"$@" >"$0/log" 2>&1 </dev/null & pid=$!
read -r _
kill -QUIT $pid; wait $pid; rm -rf "$0"`
	c.guard = exec.Command("/bin/sh", "-c", script, c.dir, filepath.Join(bin, "postgres"), "-D", c.data(), "-k", c.dir,
		"-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off",
		"-c", "shared_buffers=32MB", "-c", "max_connections=300", "-c", "max_pred_locks_per_transaction=256",
		"-c", "autovacuum=off", "-c", "logging_collector=off")
	c.guard.SysProcAttr, c.guard.Dir, c.guard.Env = c.as, "/", environment()
	stdin, err := c.guard.StdinPipe()
	if err != nil {
		return err
	}
	c.stdin = stdin
	return c.guard.Start()
}

// environment has nothing that libpq would heed.
func environment() []string { return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8"} }

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *cluster) url(name string) string {
	return fmt.Sprintf("postgres:///%s?host=%s&user=%s&sslmode=disable", name, c.dir, role)
}

// ready waits until the server answers; there is no event for that but its answer.
func (c *cluster) ready(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.exec(ctx, "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(c.dir, "log")) // it says more, if it is there
			return fmt.Errorf("PostgreSQL does not start: %w\n%s", err, log)
		case <-tick.C:
		}
	}
}

func (c *cluster) exec(ctx context.Context, statement string) error {
	return c.in(ctx, c.url("postgres"), statement)
}

func (*cluster) in(ctx context.Context, url, statements string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statements)
	return errors.Join(err, conn.Close(ctx))
}

// create makes a database like the one of a URL, or like the prepared one.
func (c *cluster) create(like string) (string, error) {
	c.made++
	name, from := fmt.Sprintf("t%d", c.made), template
	if like != "" {
		cfg, err := pgx.ParseConfig(like)
		if err != nil {
			return "", err
		}
		from = cfg.Database
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+from); err != nil {
		return "", err
	}
	return c.url(name), c.in(ctx, c.url(name), remember)
}

// What was in a database is kept beside it, and put back.
const (
	remember = `DROP SCHEMA IF EXISTS remembered CASCADE; CREATE SCHEMA remembered;
		DO $$ DECLARE t text; BEGIN
			FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
				EXECUTE format('CREATE TABLE remembered.%I AS TABLE public.%I', t, t);
			END LOOP;
		END $$`
	putBack = `SET lock_timeout = '2s'; SET session_replication_role = replica;
		DO $$ DECLARE t text; BEGIN
			FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
				EXECUTE format('DELETE FROM public.%I', t);
				EXECUTE format('INSERT INTO public.%I SELECT * FROM remembered.%I', t, t);
			END LOOP;
		END $$`
)

// restore makes a database as it was when it was created.
func (c *cluster) restore(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return c.in(ctx, url, putBack)
}

// stop ends the server and removes its directory.
func (c *cluster) stop() error {
	var err error
	if c.stdin != nil {
		err = c.stdin.Close()
		if werr := c.guard.Wait(); werr != nil {
			err = errors.Join(err, fmt.Errorf("end PostgreSQL: %w", werr))
		}
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}
