package main

import (
	"fmt"
	"slices"
	"strings"
)

// figure is one row of the goals.
type figure struct {
	name   string
	value  string
	result float64
	goal   float64 // the result is to be at most this
	unit   string
}

func (f figure) row() string {
	verdict := "met"
	if f.result > f.goal {
		verdict = "missed"
	}
	return fmt.Sprintf("| %s | %s | %.2f%s | ≤ %g%s | %s |\n", f.name, f.value, f.result, f.unit, f.goal, f.unit, verdict)
}

// of is the sample of a contestant in a phase.
func (c *contest) of(phase, name string, what func(usage) float64) sample {
	return sampled(c.taken[phase][name], what)
}

// fastest is the peer with the lowest median wall time in a phase; ok is false
// if there are no peers.
func (c *contest) fastest(phase string) (name string, s sample, ok bool) {
	for _, p := range c.peers {
		if t := c.of(phase, p.name, wall); !ok || t.median < s.median {
			name, s, ok = p.name, t, true
		}
	}
	return name, s, ok
}

func (c *contest) against(title, phase string, goal float64) []figure {
	name, theirs, ok := c.fastest(phase)
	if !ok {
		return nil
	}
	our := c.of(phase, ours, wall)
	return []figure{{title, fmt.Sprintf("%.2f s; %s %.2f s", our.median, name, theirs.median), our.median / theirs.median, goal, " ×"}}
}

func (c *contest) figures() []figure {
	if c.onlyGuest {
		return c.felt()
	}
	all := c.felt()
	our, bare := c.of(full, ours, user), c.of(full, bareRow, user)
	all = append(all, figure{"full backup, user CPU against the bare pipeline", fmt.Sprintf("%.2f s; %.2f s", our.median, bare.median), our.median / bare.median, 1.10, " ×"})
	all = append(all, c.against("full backup, wall against the fastest peer", full, 0.60)...)
	all = append(all, c.against("incremental with a changed-block list, wall against the fastest peer", incremental, 0.25)...)
	small, large := c.of(incremental, ours, wall), c.of(incremental, largerName, wall)
	all = append(all, figure{"the same incremental on a disk ten times as large", fmt.Sprintf("%.2f s; %.2f s", large.median, small.median), large.median / small.median, 1.20, " ×"})
	all = append(all, c.against("restore, wall against the fastest peer", restored, 0.40)...)
	our, cp := c.of(restored, ours, wall), c.of(restored, copier, wall)
	all = append(all, figure{"restore, wall against `cp --sparse=always`", fmt.Sprintf("%.2f s; %.2f s", our.median, cp.median), our.median / cp.median, 1.5, " ×"})
	all = append(all, c.smallest()...)
	our = c.of(verified, ours, user)
	bare = c.of(verified, bareRow, proofUser)
	all = append(all, figure{"full verification, user CPU against the bare pipeline", fmt.Sprintf("%.2f s; %.2f s", our.median, bare.median), our.median / bare.median, 1.15, " ×"})
	p50, p99 := c.of(read, ours, func(u usage) float64 { return u.P50 * 1e3 }), c.of(read, ours, func(u usage) float64 { return u.P99 * 1e3 })
	back, rest := c.of(full, ours, peak), c.of(restored, ours, peak)
	return append(all,
		figure{"collection: marking 1,000,000 chunks", "", c.facts.mark.seconds, 5, " s"},
		figure{"collection: memory for that", "", c.facts.mark.mib, 200, " MiB"},
		figure{"random 64 KiB read, warm, p50", "", p50.median, 1, " ms"},
		figure{"random 64 KiB read, warm, p99", "", p99.median, 3, " ms"},
		figure{"peak memory (VmHWM), backup", "", back.high, 200, " MiB"},
		figure{"peak memory (VmHWM), restore", "", rest.high, 64, " MiB"})
}

func (c *contest) smallest() []figure {
	if len(c.peers) == 0 {
		return nil
	}
	least := slices.MinFunc(c.peers, func(a, b peer) int { return int(c.stored[a.name] - c.stored[b.name]) })
	our, theirs := mib(c.stored[ours]), mib(c.stored[least.name])
	return []figure{{"bytes stored against the smallest peer", fmt.Sprintf("%.1f MiB; %s %.1f MiB", our, least.name, theirs), our / theirs, 1.05, " ×"}}
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// report is everything as Markdown.
func (c *contest) report() string {
	var b strings.Builder
	data := int64(0)
	for _, f := range layout(c.size) {
		data += f.size
	}
	fmt.Fprintf(&b, "Commit %s, %s. ", c.facts.commit, c.facts.machine)
	if !c.onlyGuest {
		fmt.Fprintf(&b, "A disk of %g GiB with %.2f GiB of data, %d rounds in turn. ", mib(c.size)/1024, mib(data)/1024, c.rounds)
	}
	fmt.Fprintf(&b, "%.0f minutes; load average %s at the beginning, %s at the end.\n", c.facts.took.Minutes(), c.facts.load[0], c.facts.load[1])
	for _, v := range c.facts.versions {
		fmt.Fprintf(&b, "\n- %s", v)
	}
	if len(c.facts.absent) > 0 {
		fmt.Fprintf(&b, "\n- not installed, and left out: %s", strings.Join(c.facts.absent, ", "))
	}
	b.WriteString("\n\n| figure | measured | result | goal | |\n|---|---|---|---|---|\n")
	for _, f := range c.figures() {
		b.WriteString(f.row())
	}
	if c.onlyGuest {
		return b.String() + c.windows()
	}
	b.WriteString("\nMedians, and in parentheses the lowest and the highest; seconds.\n\n| | | wall | user CPU | system CPU | stored |\n|---|---|---|---|---|---|\n")
	for _, phase := range []string{full, incremental, restored} {
		c.lines(&b, phase)
	}
	return b.String() + c.windows()
}

func (c *contest) lines(b *strings.Builder, phase string) {
	names := []string{bareRow, copier, ours, largerName}
	for _, p := range c.peers {
		names = append(names, p.name)
	}
	for _, name := range names {
		if len(c.taken[phase][name]) == 0 {
			continue
		}
		size := ""
		if n := c.stored[name]; phase == full && n > 0 {
			size = fmt.Sprintf("%.1f MiB", mib(n))
		}
		fmt.Fprintf(b, "| %s | %s | %v | %v | %v | %s |\n", phase, name, c.of(phase, name, wall), c.of(phase, name, user), c.of(phase, name, system), size)
	}
}
