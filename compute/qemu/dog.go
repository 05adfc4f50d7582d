package qemu

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"holdfast/compute/qemu/qmp"
)

// RunWatchdog is the watchdog process: arg is the monitor's socket, how long to
// wait, and the guest agent's socket, as watch appends them to Config.Watchdog;
// in and out are the pipes to the starter. When in ends or time is up, unless it
// was released before, it resumes the guest; in any case it thaws what it froze,
// and does not end before that. With "unthrottle", a socket and the names of
// disks it ends their throttle when in ends.
func RunWatchdog(arg []string, in io.Reader, out io.Writer) error {
	if len(arg) != 3 {
		return errors.New("usage: watchdog SOCKET DURATION AGENT")
	}
	if arg[0] == dogUnthrottle {
		return unthrottle(arg[1], arg[2], in, out)
	}
	after, err := time.ParseDuration(arg[1])
	if err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	q, err := qmp.Dial(ctx, arg[0])
	if err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	defer q.Close() //nolint:errcheck // never fails
	w := &dog{q: q, out: out, lines: make(chan string), freezer: newFreezer(arg[2])}
	if err := w.say(dogReady); err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	// The starter's death cuts off what waits for the guest.
	alive, dead := context.WithCancel(ctx)
	go func() {
		defer close(w.lines)
		defer dead()
		for sc := bufio.NewScanner(in); sc.Scan(); {
			w.lines <- sc.Text()
		}
	}()
	err = w.guard(alive, after)
	_ = q.Close() // never fails; the monitor is free for the next one
	w.thaw()
	if err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	return nil
}

// dog is the watchdog within its own process.
type dog struct {
	freezer

	q     *qmp.Client
	out   io.Writer
	lines chan string // what the starter says; closed when it is gone
}

func (w *dog) say(line string) error {
	_, err := fmt.Fprintln(w.out, line)
	return err
}

// guard waits for the release, or else makes the guest go on. It fails when there
// is no machine any more, or it cannot be reached.
func (w *dog) guard(alive context.Context, after time.Duration) error {
	late := time.NewTimer(after)
	defer late.Stop()
	for {
		select {
		case line, ok := <-w.lines:
			switch {
			case ok && line == dogFreeze:
				// The guest is bothered from the freeze on; finding the agent is free.
				answer := w.freeze(alive, func() { late.Reset(after) })
				_ = w.say(answer) // a starter that is gone is found so below
				continue
			case ok && line == dogRelease:
				_ = w.say(dogOK) // the same
				return nil
			}
		case <-late.C:
		case <-w.q.Done():
			return errors.New("the machine is gone")
		}
		return w.fire()
	}
}

// fire resumes the guest, and thaws it. Words come last: the starter may be
// gone, and writing to it be our end.
func (w *dog) fire() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := w.q.Execute(ctx, "cont", nil, nil)
	if w.owed {
		w.thawWithin(thawWait)
	}
	_ = w.say(dogFired) // who does not hear it has died
	return err
}

// thaw thaws what was frozen, tells of it, and stays until it has succeeded.
func (w *dog) thaw() {
	if !w.asked {
		return
	}
	if w.owed {
		w.thawWithin(thawWait)
	}
	answer := dogThawed
	switch {
	case w.owed:
		answer = dogThawing
	case !w.held:
		answer = dogOpen + "nothing was frozen any more"
	}
	_ = w.say(answer) // who does not hear it has died
	for w.owed {
		w.thawWithin(thawWait)
	}
}
