package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"holdfast/internal/vmtest"
)

// keys are the secrets of the demo's API keys.
type keys struct{ All, Read, Backup, Other string }

// machine is what the operator's list says of a VPS.
type machine struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	ServiceStatus string `json:"serviceStatus"`
	IsPayg        bool   `json:"isPayg"`
}

// admin runs an operator's command and returns its JSON.
func (d *demo) admin(ctx context.Context, args ...string) ([]byte, error) {
	fmt.Println("  $ holdfast admin " + strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, d.binary, append(append([]string{"admin"}, args...), "--data", d.service.data, "--json")...) // #nosec G204 -- our own binary
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("holdfast admin %s: %w: %s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

// made runs a command that makes something, and returns its id and secret.
func (d *demo) made(ctx context.Context, args ...string) (id, secret string, err error) {
	out, err := d.admin(ctx, args...)
	if err != nil {
		return "", "", err
	}
	var v struct{ ID, Secret string }
	return v.ID, v.Secret, json.Unmarshal(out, &v)
}

// machines lists the VPSs that are in service.
func (d *demo) machines(ctx context.Context) ([]machine, error) {
	out, err := d.admin(ctx, "vps", "list")
	if err != nil {
		return nil, err
	}
	var all []machine
	if err := json.Unmarshal(out, &all); err != nil {
		return nil, err
	}
	var live []machine
	for _, m := range all {
		if m.ServiceStatus != "terminated" {
			live = append(live, m)
		}
	}
	return live, nil
}

// setup makes what the demo needs, or finds it made by a former run, and
// removes that run's Cloud VMs.
func (d *demo) setup(ctx context.Context) error {
	state := filepath.Join(d.dir, "keys.json")
	b, err := os.ReadFile(state)
	switch {
	case err == nil:
		if err := json.Unmarshal(b, &d.keys); err != nil {
			return err
		}
	case errors.Is(err, os.ErrNotExist):
		if err := d.accounts(ctx); err != nil {
			return err
		}
		b, err := json.Marshal(d.keys)
		if err != nil {
			return err
		}
		if err := os.WriteFile(state, b, 0o600); err != nil {
			return err
		}
	default:
		return err
	}
	vms, err := d.machines(ctx)
	if err != nil {
		return err
	}
	made, err := d.cloudVMs()
	if err != nil {
		return err
	}
	for _, m := range vms {
		switch {
		case slices.Contains(made, m.ID):
			if _, err := d.admin(ctx, "vps", "delete", m.ID, "--wait"); err != nil {
				return err
			}
		case m.Name == vpsName && !m.IsPayg:
			d.vps = m.ID
		}
	}
	if d.vps == "" {
		return d.create(ctx)
	}
	if _, err := d.admin(ctx, "vps", "start", d.vps, "--wait"); err != nil {
		return err
	}
	return d.makeRoom(ctx)
}

// cloudVMs are the ids of the Cloud VMs that runs of the demo made; others, made
// by whoever tries the API, are left alone.
func (d *demo) cloudVMs() ([]string, error) {
	b, err := os.ReadFile(filepath.Join(d.dir, "cloud-vms"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return strings.Fields(string(b)), err
}

// remember notes a Cloud VM for the next run to remove.
func (d *demo) remember(vps string) error {
	made, err := d.cloudVMs()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.dir, "cloud-vms"), []byte(strings.Join(append(made, vps), "\n")), 0o600)
}

// accounts makes the demo's account, a foreign one, and their keys.
func (d *demo) accounts(ctx context.Context) error {
	for _, name := range []string{account, other} {
		_, _, err := d.made(ctx, "account", "create", "--name", name, "--backup-slots", strconv.Itoa(slots),
			"--verified", "--card-on-file", "--cloud-access", "--limit-instances", strconv.Itoa(vmLimit),
			"--limit-cpu-cores", "64", "--limit-memory-gb", "256", "--limit-storage-gb", "4000")
		if err != nil {
			return err
		}
	}
	for _, k := range []struct {
		account, name, scopes string
		secret                *string
	}{
		{account, "demo", "read:vm backup:vm power:vm write:billing", &d.keys.All},
		{account, "read only", "read:vm", &d.keys.Read},
		{account, "backup only", "backup:vm", &d.keys.Backup},
		{other, "foreign", "read:all write:all", &d.keys.Other},
	} {
		_, secret, err := d.made(ctx, "key", "create", "--account", k.account, "--name", k.name, "--scopes", k.scopes)
		if err != nil {
			return err
		}
		*k.secret = secret
	}
	return nil
}

// create imports the test guest as an OS image and makes the VPS.
func (d *demo) create(ctx context.Context) error {
	_, _, err := d.made(ctx, "image", "import", "--name", imageName, "--os-name", "Holdfast test guest", "--os-family", "linux", "--os-version", "1",
		"--disk", filepath.Join(d.guest, "root.qcow2"), "--format", "qcow2", "--kernel", filepath.Join(d.guest, "vmlinuz"),
		"--initrd", filepath.Join(d.guest, "initrd.img"), "--cmdline", "console=ttyS0 quiet panic=-1")
	if err != nil {
		return err
	}
	d.vps, _, err = d.made(ctx, "vps", "create", "--account", account, "--image", imageName, "--name", vpsName,
		"--cpu-cores", "1", "--memory-mib", "256", "--disk-bytes", strconv.Itoa(dataDisk),
		"--forward", "80", "--start", "--wait")
	if err != nil {
		return err
	}
	return d.fill(ctx)
}

// fill puts data on the second disk, so that there is something to see moving.
func (d *demo) fill(ctx context.Context) error {
	at, err := d.web(ctx, d.vps)
	if err != nil {
		return err
	}
	if _, err := vmtest.WaitHTTP(ctx, at+"/boots"); err != nil {
		return fmt.Errorf("the VPS does not answer: %w", err)
	}
	fmt.Printf("  the guest writes %d MiB to its second disk\n", dataMiB)
	_, err = vmtest.Get(ctx, fmt.Sprintf("%s/fill?dev=/dev/vdb&mb=%d&kind=random", at, dataMiB))
	return err
}

// makeRoom deletes the oldest backups of former runs when slots run short.
func (d *demo) makeRoom(ctx context.Context) error {
	var list struct {
		Backups []struct{ ID, Note string }
	}
	path := "/api/v2/vps/" + d.vps + "/backups"
	if err := d.get(ctx, path, &list); err != nil {
		return err
	}
	for i, b := range list.Backups {
		if i >= slots-keepFree && strings.HasPrefix(b.Note, "demo: ") {
			if _, err := d.shown(ctx, http.MethodDelete, path+"/"+b.ID, nil); err != nil {
				return err
			}
		}
	}
	return nil
}
