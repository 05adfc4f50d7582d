package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
)

// The phases, as they are called in the tables.
const (
	full        = "full"
	restored    = "restore"
	verified    = "verify"
	read        = "reads"
	incremental = "incremental"
)

// fulls lets everybody in turn back the disk up into an empty repository. The
// repositories of the last round stay.
func (c *contest) fulls(ctx context.Context) error {
	for range c.rounds {
		if err := c.measure(ctx, full, bareRow, c.task("bare-write", c.disk())); err != nil {
			return err
		}
		if err := c.ourFull(ctx, ours, c.disk()); err != nil {
			return err
		}
		for _, p := range c.peers {
			if err := c.peerFull(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *contest) ourFull(ctx context.Context, name, disk string) error {
	if err := c.fresh(name); err != nil {
		return err
	}
	if _, err := c.task("init", c.at(name)).run(ctx); err != nil {
		return err
	}
	if err := c.measure(ctx, full, name, c.task("backup", c.at(name), disk, "b0")); err != nil {
		return err
	}
	return c.weigh(name)
}

func (c *contest) peerFull(ctx context.Context, p peer) error {
	if err := c.fresh(p.name); err != nil {
		return err
	}
	for _, words := range p.begin {
		if _, err := p.command(words, c.at(p.name), c.values("b0")...).run(ctx); err != nil {
			return err
		}
	}
	if err := c.measure(ctx, full, p.name, p.command(p.backup, c.at(p.name), c.values("b0")...)); err != nil {
		return err
	}
	return c.weigh(p.name)
}

func (c *contest) weigh(name string) (err error) {
	c.stored[name], err = stored(c.at(name, "repo"))
	return err
}

// restores lets everybody in turn write the disk to a new file, sparse where the
// program can, and once compares it with the disk.
func (c *contest) restores(ctx context.Context) error {
	target := c.at("out", "disk.img")
	all := map[string]command{
		ours:   c.task("restore", c.at(ours), "b0", target),
		copier: {args: []string{"cp", "--sparse=always", c.disk(), target}},
	}
	names := []string{copier, ours}
	for _, p := range c.peers {
		all[p.name] = p.command(p.restore, c.at(p.name), c.values("b0")...)
		names = append(names, p.name)
	}
	for i := range c.rounds {
		for _, name := range names {
			if err := c.restore(ctx, name, all[name], i == 0); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *contest) restore(ctx context.Context, name string, cmd command, compare bool) error {
	out := c.at("out")
	if err := os.MkdirAll(out, 0o700); err != nil {
		return err
	}
	cmd.dir = out
	if err := c.measure(ctx, restored, name, cmd); err != nil {
		return err
	}
	if compare {
		if err := same(c.disk(), out); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return os.RemoveAll(out)
}

// proofs verifies the vault, and reads it at random.
func (c *contest) proofs(ctx context.Context) error {
	for range c.rounds {
		if err := c.measure(ctx, verified, bareRow, c.task("bare-verify", c.disk())); err != nil {
			return err
		}
		if err := c.measure(ctx, verified, ours, c.task("verify", c.at(ours))); err != nil {
			return err
		}
		if err := c.measure(ctx, read, ours, c.task("reads", c.at(ours), "b0")); err != nil {
			return err
		}
	}
	return nil
}

// incrementals changes the disk, and the one that is larger, in the same places,
// and lets everybody back it up again: us with the list of what changed, the
// others, who take none, with the file.
func (c *contest) incrementals(ctx context.Context) error {
	if err := c.ourFull(ctx, largerName, c.largeDisk()); err != nil {
		return err
	}
	list := c.at("changes")
	for round := 1; round <= c.rounds; round++ {
		n := strconv.Itoa(round)
		if _, err := c.task("change", strconv.FormatInt(c.size, 10), n, list, c.disk(), c.largeDisk()).run(ctx); err != nil {
			return err
		}
		parent := "b" + strconv.Itoa(round-1)
		if err := c.measure(ctx, incremental, ours, c.task("incremental", c.at(ours), c.disk(), "b"+n, parent, list)); err != nil {
			return err
		}
		if err := c.measure(ctx, incremental, largerName, c.task("incremental", c.at(largerName), c.largeDisk(), "b"+n, parent, list)); err != nil {
			return err
		}
		for _, p := range c.peers {
			if err := c.measure(ctx, incremental, p.name, p.command(p.backup, c.at(p.name), c.values("b"+n)...)); err != nil {
				return err
			}
		}
	}
	return nil
}
