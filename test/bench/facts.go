package main

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// facts are what the figures depend on.
type facts struct {
	machine  string
	commit   string
	began    time.Time
	took     time.Duration
	load     [2]string // at the beginning and the end
	versions []string
	absent   []string
	mark     marking
	guest    report // of the guest's writes; empty when there was none
}

func begin(ctx context.Context) facts {
	f := facts{began: time.Now(), machine: machine(), commit: "unknown", load: [2]string{loadAverage()}}
	if out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output(); err == nil {
		f.commit = strings.TrimSpace(string(out))
	}
	return f
}

func (f *facts) end() {
	f.took = time.Since(f.began)
	f.load[1] = loadAverage()
}

// machine names processor, cores, memory and kernel.
func machine() string {
	parts := []string{strconv.Itoa(runtime.NumCPU()) + " × " + field("/proc/cpuinfo", "model name")}
	if kib, err := strconv.Atoi(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB")); err == nil {
		parts = append(parts, strconv.Itoa(kib>>20)+" GiB")
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		parts = append(parts, "Linux "+strings.TrimSpace(string(release)))
	}
	return strings.Join(append(parts, runtime.Version()), ", ")
}

// field is the first value of a name in a file of "name : value" lines.
func field(path, name string) string {
	data, err := os.ReadFile(path) //nolint:gosec // of /proc
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// loadAverage is that of the last one and five minutes.
func loadAverage() string {
	data, err := os.ReadFile("/proc/loadavg")
	words := strings.Fields(string(data))
	if err != nil || len(words) < 2 {
		return "unknown"
	}
	return words[0] + " " + words[1]
}
