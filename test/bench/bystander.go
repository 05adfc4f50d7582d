package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// fewestWindows of each kind are measured, whatever the rounds of the others.
const fewestWindows = 5

// note takes down the facts when nothing is prepared.
func (c *contest) note(ctx context.Context) error {
	c.facts = begin(ctx)
	return os.MkdirAll(c.dir, 0o700)
}

// bystand measures the writes of a guest that is backed up. Without the guest or
// QEMU it is left out.
func (c *contest) bystand(ctx context.Context) error {
	if !c.canBoot() {
		c.facts.absent = append(c.facts.absent, "QEMU or the test guest")
		return nil
	}
	if err := os.MkdirAll(c.at("guest"), 0o711); err != nil { //nolint:gosec // the hypervisor passes through
		return err
	}
	u, err := c.task("guest", c.at("guest"), c.guest, strconv.Itoa(max(c.rounds, fewestWindows))).run(ctx)
	c.facts.guest = u.report
	return err
}

func (c *contest) canBoot() bool {
	_, err := exec.LookPath("qemu-system-x86_64")
	for _, name := range []string{"vmlinuz", "initrd.img", "root.qcow2"} {
		_, serr := os.Stat(filepath.Join(c.guest, name))
		err = errors.Join(err, serr)
	}
	return err == nil
}

// quantiles are the medians, lowest and highest of a number of each window, in
// milliseconds.
func quantiles(all []window, of func(window) int64) sample {
	taken := make([]usage, len(all))
	for i, w := range all {
		taken[i].Wall = float64(of(w)) / 1e3
	}
	return sampled(taken, wall)
}

func p50(w window) int64     { return w.P50Micros }
func p99(w window) int64     { return w.P99Micros }
func longest(w window) int64 { return w.MaxMicros }

// felt is the row of the goals that the guest's writes have.
func (c *contest) felt() []figure {
	g := c.facts.guest
	if len(g.Idle) == 0 || len(g.During) == 0 {
		return nil
	}
	idle, during := quantiles(g.Idle, p99), quantiles(g.During, p99)
	most := quantiles(g.During, longest)
	return []figure{
		{"a guest's writes during a backup against idle, p99", fmt.Sprintf("%.2f ms; %.2f ms", during.median, idle.median), during.median / idle.median, 2, " ×"},
		{"a guest's longest write during a backup", "", most.high / 1e3, 2, " s"},
	}
}

// windows are all that the guest has measured.
func (c *contest) windows() string {
	g := c.facts.guest
	if len(g.Idle) == 0 || len(g.During) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nA guest's writes, %d windows of each kind in turn, of at least %d writes; milliseconds.\n\n| | p50 | p99 | longest |\n|---|---|---|---|\n", len(g.Idle), windowWrites)
	for _, row := range []struct {
		name string
		all  []window
	}{{"idle", g.Idle}, {"during full backups", g.During}} {
		fmt.Fprintf(&b, "| %s | %v | %v | %v |\n", row.name, quantiles(row.all, p50), quantiles(row.all, p99), quantiles(row.all, longest))
	}
	return b.String()
}
