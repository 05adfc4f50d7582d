package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

const (
	ours    = "holdfast"
	bareRow = "bare"
	copier  = "cp"
	// The second disk of the incremental is so many times as large; what is more is a hole.
	larger     = 10
	largerName = "holdfast, 10 times the disk"
)

// contest is one run of everything.
type contest struct {
	dir    string
	size   int64
	rounds int
	guest  string // where the test guest is built
	// onlyGuest leaves everything out that has nothing to do with it.
	onlyGuest bool

	self   string
	peers  []peer
	facts  facts
	taken  map[string]map[string][]usage // by phase and name
	stored map[string]int64
}

func (c *contest) at(parts ...string) string {
	return filepath.Join(append([]string{c.dir}, parts...)...)
}

func (c *contest) disk() string      { return c.at("in", "disk.img") }
func (c *contest) largeDisk() string { return c.at("large", "disk.img") }

func (c *contest) run(ctx context.Context, out string) (err error) {
	if c.self, err = os.Executable(); err != nil {
		return err
	}
	c.taken, c.stored = map[string]map[string][]usage{}, map[string]int64{}
	if err := os.RemoveAll(c.dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.dir)) }()
	phases := []func(context.Context) error{c.prepare, c.fulls, c.restores, c.proofs, c.incrementals, c.mark, c.bystand}
	if c.onlyGuest {
		phases = []func(context.Context) error{c.note, c.bystand}
	}
	for _, phase := range phases {
		if err := phase(ctx); err != nil {
			return err
		}
	}
	c.facts.end()
	text := c.report()
	if out != "" {
		err = os.WriteFile(out, []byte(text), 0o644) //nolint:gosec // it is to be read
	}
	_, werr := os.Stdout.WriteString(text)
	return errors.Join(err, werr)
}

func (c *contest) prepare(ctx context.Context) error {
	c.facts = begin(ctx)
	for _, p := range peers {
		version := ""
		if p.found() != "" {
			version = p.ask(ctx)
		}
		if version == "" {
			c.facts.absent = append(c.facts.absent, p.name)
			continue
		}
		c.facts.versions = append(c.facts.versions, fmt.Sprintf("%s: %s; %s", p.name, version, p.how))
		c.peers = append(c.peers, p)
	}
	for _, dir := range []string{"in", "large"} {
		if err := os.MkdirAll(c.at(dir), 0o700); err != nil {
			return err
		}
	}
	size := strconv.FormatInt(c.size, 10)
	if _, err := c.task("disk", c.disk(), size, size).run(ctx); err != nil {
		return err
	}
	_, err := c.task("disk", c.largeDisk(), size, strconv.FormatInt(larger*c.size, 10)).run(ctx)
	return err
}

// task is a process of our own.
func (c *contest) task(args ...string) command {
	return command{args: append([]string{c.self}, args...)}
}

// measure runs a process and keeps what it took.
func (c *contest) measure(ctx context.Context, phase, name string, cmd command) error {
	u, err := cmd.run(ctx)
	if err != nil {
		return err
	}
	if c.taken[phase] == nil {
		c.taken[phase] = map[string][]usage{}
	}
	c.taken[phase][name] = append(c.taken[phase][name], u)
	fmt.Fprintf(os.Stderr, "%-12s %-28s %7.2f s wall, %7.2f s user, %6.2f s system\n", phase, name, u.Wall, u.User, u.System)
	return nil
}

// values are what a peer's words stand for.
func (c *contest) values(id string) []string {
	return []string{"{disk}", c.disk(), "{in}", c.at("in"), "{out}", c.at("out"), "{id}", id}
}

// fresh gives a contestant an empty repository.
func (c *contest) fresh(name string) error {
	if err := os.RemoveAll(c.at(name)); err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(c.at(name, "home"), 0o700), os.MkdirAll(c.at(name, "repo"), 0o700))
}
