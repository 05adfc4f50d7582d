package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/test/service"
	"holdfast/vault/blob/s3/s3test"
)

const siteKeys = "access_key = " + s3test.AccessKey + "\nsecret_key = " + s3test.SecretText + "\n"

func keysFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "s3.keys")
	if err := os.WriteFile(name, []byte(siteKeys), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A service whose vaults are in a bucket: a backup, proved, and recovered with
// the kit and the bucket's keys alone.
func TestSiteOnS3(t *testing.T) {
	server := s3test.Gateway(t)
	server.Bucket(t, "site", false)
	credentials := keysFile(t)
	s, a, vps, content := newService(t, service.Set("site", "s3://site/hold/fast"), service.Set("s3.endpoint", server.Endpoint),
		service.Set("s3.path_style", "true"), service.Set("s3.credentials", credentials), service.Set("vault.requests_per_second", "500"))
	s.Await(t, a.Key, s.Backup(t, a.Key, vps), time.Minute)
	s.Run(t, "vault", "check", "--read-data")

	kitFile := kit(t, s, a)
	text, err := os.ReadFile(kitFile)
	if err != nil || !strings.Contains(string(text), "s3://site/hold/fast/"+a.ID) {
		t.Errorf("the kit does not say where the vault is: %v\n%s", err, text)
	}
	from := []string{
		"recover", "--vault", "s3://site/hold/fast/" + a.ID, "--kit", kitFile,
		"--s3-endpoint", server.Endpoint, "--s3-path-style", "--s3-credentials", credentials,
	}
	list := strings.Fields(string(s.Alone(t, from...)))
	output := filepath.Join(t.TempDir(), "disk.raw")
	s.Alone(t, append(from, "--backup", list[0], "--disk", "disk0", "--output", output)...)
	if got, err := os.ReadFile(output); err != nil || !bytes.Equal(got, content) {
		t.Errorf("what was recovered is not what the disk held: %v", err)
	}

	// It was proved once; the log and the settings hold no key.
	s.Stop(t)
	s.Start(t)
	if log := s.Log(t); strings.Count(log, "is suitable for vaults") != 1 || strings.Contains(log, s3test.SecretText) {
		t.Errorf("log:\n%s", log)
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "vault")); err == nil {
		t.Error("a local vault was made, too")
	}
}

// What is wrong with a bucket is told before anything is backed up to it.
func TestUnsuitableSite(t *testing.T) {
	server := s3test.Gateway(t)
	server.Bucket(t, "versioned", true)
	server.Bucket(t, "plain", false)
	serve := func(more ...string) []string {
		return append([]string{"serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--set", "host.driver=sim", "--set", "s3.path_style=true", "--set", "s3.endpoint=" + server.Endpoint}, more...)
	}
	credentials := "s3.credentials=" + keysFile(t)
	for name, c := range map[string]struct {
		says string
		args []string
	}{
		"versions":            {"keeps versions", []string{"--set", credentials, "--set", "site=s3://versioned"}},
		"no bucket":           {"NoSuchBucket", []string{"--set", credentials, "--set", "site=s3://nobody-made-it"}},
		"no keys":             {"HOLDFAST_S3_SECRET_KEY", []string{"--set", "site=s3://versioned"}},
		"no name":             {"no name of a bucket", []string{"--set", credentials, "--set", "site=s3://"}},
		"no locks":            {"keeps no versions", []string{"--set", credentials, "--set", "site=s3://plain", "--set", "s3.lock=30d"}},
		"lock of a directory": {"of a site that is a bucket", []string{"--set", "s3.lock=30d"}},
		"lock for ever":       {"ten years", []string{"--set", credentials, "--set", "site=s3://versioned", "--set", "s3.lock=4000d"}},
		"lock mode":           {"compliance or governance", []string{"--set", credentials, "--set", "site=s3://versioned", "--set", "s3.lock=30d", "--set", "s3.lock_mode=soft"}},
		"other place":         {"s3://bucket/prefix", []string{"--set", "site=ftp://host/dir"}},
	} {
		t.Run(name, func(t *testing.T) {
			if said := ends(t, serve(c.args...)...); !strings.Contains(said, c.says) {
				t.Errorf("said: %s", said)
			}
		})
	}
}

// ends runs a command that must fail by itself, and returns what it said.
func ends(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, service.Build(t), args...).CombinedOutput() // #nosec G204 -- our own binary
	if _, failed := errors.AsType[*exec.ExitError](err); !failed || ctx.Err() != nil {
		t.Fatalf("holdfast %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
