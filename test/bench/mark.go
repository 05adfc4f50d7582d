package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
)

// marking is what the vault's own benchmark says of a million chunks.
type marking struct{ seconds, mib float64 }

var markLine = regexp.MustCompile(`BenchmarkMark/run=64\S*\s+\d+\s+(\d+) ns/op\s+([0-9.]+) MiB-peak`)

// mark runs the vault's benchmark of marking for a collection, whose vault of a
// million chunks only the vault's own tests can make without their data.
func (c *contest) mark(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkMark$/run=64", "-benchtime", strconv.Itoa(c.rounds)+"x", "./vault").CombinedOutput() //nolint:gosec // a number
	if err != nil {
		return fmt.Errorf("benchmark of marking: %w: %s", err, last(string(out)))
	}
	m := markLine.FindSubmatch(out)
	if m == nil {
		return fmt.Errorf("benchmark of marking: cannot read %s", last(string(out)))
	}
	ns, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		return err
	}
	mib, err := strconv.ParseFloat(string(m[2]), 64)
	c.facts.mark = marking{ns / 1e9, mib}
	fmt.Fprintf(os.Stderr, "%-12s %-28s %7.2f s wall, %.0f MiB\n", "mark", ours, ns/1e9, mib)
	return err
}
