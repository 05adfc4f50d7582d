// Command bench measures the vault against the bare pipeline it is made of, and
// against other backup programs on the same disk in the same run.
//
//	go run ./test/bench [-gib 8] [-rounds 5] [-dir build/bench] [-out FILE] [-only-guest]
//
// It makes a disk that is the same everywhere (see layout.go), lets everybody
// back it up, restore it, and back up a hundredth of it that changed, in turn,
// and prints the medians beside the goals. Then a guest measures its own writes
// while it is backed up, and while it is not. A program that is not installed is
// reported and left out. What a measured process of ours does is in the files
// engine*.go and bare*.go: the command starts itself for it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"holdfast/compute/qemu"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) > 1 && os.Args[1] == "watchdog" { // of the guest's hypervisor
		err = qemu.RunWatchdog(os.Args[2:], os.Stdin, os.Stdout)
	} else if len(os.Args) > 1 && tasks[os.Args[1]] != nil {
		err = measured(ctx, os.Args[1], os.Args[2:])
	} else {
		err = compare(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // the context has nothing left to do
	}
}

// number is an environment variable's, or the default.
func number(name string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return def
}

func compare(ctx context.Context) error {
	gib := flag.Int("gib", number("BENCH_GIB", 8), "size of the disk in GiB; 0.41 of it is data")
	rounds := flag.Int("rounds", number("BENCH_ROUNDS", 5), "how often each is measured")
	dir := flag.String("dir", filepath.Join("build", "bench"), "where to work: it is removed, before and after, and needs 1.5 bytes for each of the disk")
	out := flag.String("out", "", "also write the tables to this file")
	image := flag.String("guest", filepath.Join("build", "guest"), "where the test guest is built; without it, nothing is said of guests")
	only := flag.Bool("only-guest", false, "measure nothing but the guest")
	flag.Parse()
	abs, err := filepath.Abs(*dir)
	if err != nil {
		return err
	}
	guest, err := filepath.Abs(*image)
	if err != nil {
		return err
	}
	c := &contest{dir: abs, size: int64(*gib) << 30, rounds: *rounds, guest: guest, onlyGuest: *only}
	return c.run(ctx, *out)
}
