package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"strconv"
	"syscall"
)

// tasks are what this command does as a process of its own, so that its time
// and memory can be told from the measuring's. The arguments are the measuring's own.
var tasks = map[string]func(ctx context.Context, args []string) (report, error){
	"disk": func(_ context.Context, a []string) (report, error) {
		size, length := parse(a[1]), parse(a[2])
		return report{}, makeDisk(a[0], size, length)
	},
	"change": func(_ context.Context, a []string) (report, error) {
		return report{}, change(parse(a[0]), uint64(parse(a[1])), a[2], a[3:]...) //nolint:gosec // a small number
	},
	"init": func(ctx context.Context, a []string) (report, error) { return report{}, initVault(ctx, a[0]) },
	"backup": func(ctx context.Context, a []string) (report, error) {
		return report{}, backUp(ctx, a[0], a[1], a[2], "", "")
	},
	"incremental": func(ctx context.Context, a []string) (report, error) {
		return report{}, backUp(ctx, a[0], a[1], a[2], a[3], a[4])
	},
	"restore": func(ctx context.Context, a []string) (report, error) { return report{}, restore(ctx, a[0], a[1], a[2]) },
	"verify":  func(ctx context.Context, a []string) (report, error) { return verify(ctx, a[0]) },
	"reads":   func(ctx context.Context, a []string) (report, error) { return randomReads(ctx, a[0], a[1]) },
	"guest": func(ctx context.Context, a []string) (report, error) {
		return guestWrites(ctx, a[0], a[1], int(parse(a[2])))
	},
	"bare-write": func(ctx context.Context, a []string) (report, error) {
		b, err := newBare(a[0], false)
		if err != nil {
			return report{}, err
		}
		return report{}, b.write(ctx)
	},
	"bare-verify": func(ctx context.Context, a []string) (report, error) { return bareVerify(ctx, a[0]) },
}

func bareVerify(ctx context.Context, image string) (report, error) {
	b, err := newBare(image, true)
	if err != nil {
		return report{}, err
	}
	if err := b.write(ctx); err != nil {
		return report{}, err
	}
	before, err := userSeconds()
	if err != nil {
		return report{}, err
	}
	n, err := b.verify()
	if err != nil {
		return report{}, err
	}
	after, err := userSeconds()
	return report{User: after - before, Bytes: n}, err
}

func parse(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err) // an argument of the measuring's own
	}
	return n
}

// measured runs a task and prints its report. BENCH_PROFILE names a file for a
// profile of its processor time.
func measured(ctx context.Context, name string, args []string) (err error) {
	if path := os.Getenv("BENCH_PROFILE"); path != "" {
		f, err := os.Create(path) //nolint:gosec // whoever measures names it
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return errors.Join(err, f.Close())
		}
		defer func() {
			pprof.StopCPUProfile()
			_ = f.Close() // a profile cut short is seen when it is read
		}()
	}
	r, err := tasks[name](ctx, args)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if r.Peak, err = peakMemory(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// peakMemory is the most memory this process ever had resident, in bytes.
func peakMemory() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, ok := bytes.Cut(status, []byte("VmHWM:"))
	if !ok {
		return 0, errors.New("/proc/self/status has no VmHWM")
	}
	kib, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
	return kib << 10, err
}

// userSeconds is the user time of this process.
func userSeconds() (float64, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()) / 1e9, err
}
