package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// peer is a program that backs a file up into a repository: how to call it. In
// its words {repo} is the repository, {home} a directory for its own files,
// {disk} the disk's image, {in} the directory that holds nothing else, {out}
// where to restore to, {id} the backup's name and {round} its number.
type peer struct {
	name    string
	how     string // its encryption and compression, for the table
	program string
	version string
	env     string
	begin   []string
	backup  string
	// dated, for the others, is what {id} is then.
	restore string
}

// peers are measured as their authors would have them: encrypted, compressed
// with zstd at its fastest or as it comes, in a local directory.
var peers = []peer{
	{
		name: "restic", how: "AES-256-CTR and Poly1305; zstd, its default", program: "restic", version: "restic version",
		env:   "RESTIC_PASSWORD=bench RESTIC_REPOSITORY={repo} RESTIC_CACHE_DIR={home}/cache",
		begin: []string{"restic init -q"}, backup: "restic backup -q {disk}", restore: "restic restore -q latest --target {out}",
	},
	{
		name: "borg", how: "repokey-blake2 (AES-256-CTR, BLAKE2b); zstd,1", program: "borg", version: "borg --version",
		env:   "BORG_PASSPHRASE=bench BORG_BASE_DIR={home}",
		begin: []string{"borg init -e repokey-blake2 {repo}"}, backup: "borg create -C zstd,1 {repo}::{id} {disk}",
		restore: "borg extract --sparse {repo}::{id}",
	},
	{
		name: "kopia", how: "AES-256-GCM, BLAKE2B-256-128; zstd-fastest", program: "kopia", version: "kopia --version",
		env: "KOPIA_PASSWORD=bench KOPIA_CONFIG_PATH={home}/config KOPIA_CACHE_DIRECTORY={home}/cache KOPIA_LOG_DIR={home}/log KOPIA_CHECK_FOR_UPDATES=false",
		begin: []string{
			"kopia repository create filesystem --path {repo}",
			"kopia policy set --global --compression zstd-fastest",
		},
		backup: "kopia snapshot create {in}", restore: "kopia snapshot restore --snapshot-time=latest --write-sparse-files {in} {out}",
	},
}

// found is the program's path: in build/bin, where make bench builds what is not
// packaged, or else in PATH. It is empty if it is not installed.
func (p peer) found() string {
	if path, err := filepath.Abs(filepath.Join("build", "bin", p.program)); err == nil {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	path, err := exec.LookPath(p.program)
	if err != nil {
		return ""
	}
	return path
}

// ask is the program's version in its own words, or empty if it does not run.
func (p peer) ask(ctx context.Context) string {
	words := strings.Fields(p.version)
	out, err := exec.CommandContext(ctx, p.found(), words[1:]...).Output() //nolint:gosec // the programs compared
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}

// command fills the words of a command in.
func (p peer) command(words, dir string, values ...string) command {
	r := strings.NewReplacer(append(values, "{home}", filepath.Join(dir, "home"), "{repo}", filepath.Join(dir, "repo"))...)
	c := command{args: strings.Fields(r.Replace(words)), env: strings.Fields(r.Replace(p.env))}
	c.args[0] = p.found()
	return c
}

// stored is the number of bytes in the files below a directory.
func stored(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}
