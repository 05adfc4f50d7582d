// Command demo shows the main job on real virtual machines: it starts the
// service, creates a VPS, backs it up live, changes it, backs it up again, and
// restores the first backup to a new Cloud VM; every API call is printed as
// curl with its answer. The service stays up; `demo stop` ends it.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"holdfast/internal/vmtest"
)

const (
	account   = "demo"
	other     = "other"
	vpsName   = "demo-web-01"
	imageName = "holdfast-guest"
	oldText   = "Hello from before the upgrade."
	newText   = "Hello from after the upgrade."
	dataDisk  = 1 << 30 // bytes of the second disk
	dataMiB   = 256     // of them are written
	slots     = 50      // backups a VPS may have
	vmLimit   = 10      // Cloud VMs the account may have
	keepFree  = 4       // slots that a run of the demo leaves itself
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d := &demo{dir: abs(".demo"), guest: abs("build/guest"), binary: abs("build/holdfast"), accel: os.Getenv("ACCEL")}
	run := d.show
	if len(os.Args) > 1 && os.Args[1] == "stop" {
		run = d.stop
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1) //nolint:gocritic // the context has nothing left to do
	}
}

type demo struct {
	dir, guest, binary, accel string
	service                   service
	keys                      keys
	vps                       string
}

func abs(path string) string {
	p, err := filepath.Abs(path)
	if err != nil {
		panic(err)
	}
	return p
}

// show is the whole demo.
func (d *demo) show(ctx context.Context) error {
	for _, step := range []struct {
		title string
		do    func(context.Context) error
	}{
		{"The service: one binary, embedded defaults", d.start},
		{"An account, its keys, an OS image and a VPS", d.setup},
		{"The VPS serves its content", d.before},
	} {
		heading(step.title)
		if err := step.do(ctx); err != nil {
			return err
		}
	}
	first, err := d.backup(ctx, "A backup, live, through the public API", "demo: before the upgrade")
	if err != nil {
		return err
	}
	heading("The VPS changes")
	if err := d.put(ctx, newText); err != nil {
		return err
	}
	if _, err := d.backup(ctx, "A second backup: only what changed", "demo: after the upgrade"); err != nil {
		return err
	}
	return d.restore(ctx, first)
}

// before puts the old content on the VPS.
func (d *demo) before(ctx context.Context) error { return d.put(ctx, oldText) }

func (d *demo) put(ctx context.Context, text string) error {
	at, err := d.web(ctx, d.vps)
	if err != nil {
		return err
	}
	if _, err := vmtest.WaitHTTP(ctx, at+"/boots"); err != nil {
		return fmt.Errorf("the VPS does not answer: %w", err)
	}
	if _, err := vmtest.Put(ctx, at+"/content", strings.NewReader(text)); err != nil {
		return err
	}
	got, err := vmtest.Get(ctx, at+"/content")
	fmt.Printf("  GET %s/content on the VPS: %s\n", at, got)
	return err
}

// backup makes a backup and waits for it.
func (d *demo) backup(ctx context.Context, title, note string) (id string, err error) {
	heading(title)
	a, err := d.call(ctx, "POST", "/api/v2/vps/"+d.vps+"/backups", map[string]string{"note": note})
	if err != nil {
		return "", err
	}
	job, err := d.await(ctx, a.Operation.JobID)
	if err != nil {
		return "", err
	}
	return job.Result.BackupID, nil
}

// restore brings the first backup up as a new Cloud VM, and compares.
func (d *demo) restore(ctx context.Context, backup string) error {
	heading("The first backup, restored to a new Cloud VM")
	a, err := d.call(ctx, "POST", "/api/v2/vps/"+d.vps+"/backups/"+backup+"/actions/restore-to-payg", nil)
	if err != nil {
		return err
	}
	job, err := d.await(ctx, a.Operation.JobID)
	if err != nil {
		return err
	}
	if err := d.remember(job.Result.VPSID); err != nil {
		return err
	}
	heading("Old and new, side by side")
	cloud, err := d.web(ctx, job.Result.VPSID)
	if err != nil {
		return err
	}
	original, err := d.web(ctx, d.vps)
	if err != nil {
		return err
	}
	if _, err := vmtest.WaitHTTP(ctx, cloud+"/content"); err != nil {
		return fmt.Errorf("the Cloud VM does not answer: %w", err)
	}
	for _, m := range []struct{ what, at, want string }{{"the original VPS", original, newText}, {"the new Cloud VM", cloud, oldText}} {
		text, err := vmtest.Get(ctx, m.at+"/content")
		if err != nil {
			return err
		}
		host, err := vmtest.Get(ctx, m.at+"/hostname")
		if err != nil {
			return err
		}
		fmt.Printf("  %-17s %s  (%s)  %s\n", m.what, m.at, strings.TrimSpace(host), text)
		if strings.TrimSpace(text) != m.want {
			return fmt.Errorf("%s answers %q instead of %q", m.what, text, m.want)
		}
	}
	return d.finish()
}

// finish writes .demo/env and says where everything is.
func (d *demo) finish() error {
	env := fmt.Sprintf("HOLDFAST_URL=%s\nHOLDFAST_API_KEY=%s\nHOLDFAST_VPS_ID=%s\nHOLDFAST_KEY_READ=%s\nHOLDFAST_KEY_BACKUP=%s\nHOLDFAST_KEY_OTHER=%s\n",
		d.service.url, d.keys.All, d.vps, d.keys.Read, d.keys.Backup, d.keys.Other)
	if err := os.WriteFile(filepath.Join(d.dir, "env"), []byte(env), 0o600); err != nil {
		return err
	}
	heading("The service stays up")
	fmt.Printf("  address    %s   (OpenAPI: %s/openapi.json)\n  API key    %s\n  settings   .demo/env\n  end        make demo-stop\n", d.service.url, d.service.url, d.keys.All)
	return nil
}

// web is where a VPS's port 80 is reached from here.
func (d *demo) web(ctx context.Context, vps string) (string, error) {
	var v struct {
		ForwardedPorts []struct {
			Address             string
			HostPort, GuestPort int
		}
	}
	if err := d.get(ctx, "/api/v2/vps/"+url.PathEscape(vps), &v); err != nil {
		return "", err
	}
	for _, p := range v.ForwardedPorts {
		if p.GuestPort == 80 {
			return "http://" + net.JoinHostPort(p.Address, strconv.Itoa(p.HostPort)), nil
		}
	}
	return "", errors.New("the VPS forwards no port 80")
}

var started = time.Now()

func heading(title string) {
	fmt.Printf("\n== %s  [%s]\n", title, time.Since(started).Round(100*time.Millisecond))
}
