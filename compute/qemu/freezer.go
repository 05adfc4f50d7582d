package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"holdfast/compute/qemu/agent"
)

const (
	// syncWait is how long an agent may take to show that it is there.
	syncWait = 3 * time.Second
	// freezeWait is how long it may take to freeze, of the watchdog's time.
	freezeWait = 2 * time.Second
	// thawWait is how long the starter waits to hear of the thaw.
	thawWait = 3 * time.Second
	// maxRefusals is after how many of them it is left alone: an agent that
	// answers nonsense is the guest's own doing.
	maxRefusals = 20
)

// freezer freezes the file systems of a guest and knows what it owes: a thaw
// from the moment a freeze was asked for until the agent has answered one, also
// when the freeze was never answered, for it may come late. All that it hears is
// a guest's, see the package agent for its bounds.
type freezer struct {
	socket string
	peer   int // process at the other end
	a      *agent.Client

	again time.Duration // how soon an agent that says no is asked once more

	asked    bool // to freeze
	owed     bool // a thaw
	held     bool // frozen from the answer to the freeze to the thaw
	refusals int
}

func newFreezer(socket string) freezer { return freezer{socket: socket, again: 500 * time.Millisecond} }

// freeze returns dogFrozen, or dogOpen with why not. begun is called before the
// guest notices anything.
func (f *freezer) freeze(ctx context.Context, begun func()) string {
	f.asked = true
	open := func(what string, err error) string { return fmt.Sprintf("%s%s: %.400v", dogOpen, what, err) }
	sctx, cancel := context.WithTimeout(ctx, syncWait)
	defer cancel()
	if err := f.converse(sctx); err != nil {
		f.drop()
		return open("the guest agent does not answer", err)
	}
	begun()
	f.owed = true
	fctx, cancel := context.WithTimeout(ctx, freezeWait)
	defer cancel()
	n, err := f.a.Freeze(fctx)
	if err == nil && n > 0 {
		f.held = true
		return dogFrozen
	}
	// A late freeze finds this next, even if nobody were here any more.
	bctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = f.a.ThawBlindly(bctx) // what is owed is asked for again
	if err == nil {
		err = errors.New("it froze nothing")
	}
	return open("the guest was not frozen", err)
}

// thawWithin tries for a while, and returns when nothing is owed.
func (f *freezer) thawWithin(d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	for f.owed && ctx.Err() == nil {
		n, err := f.thawOnce(ctx)
		switch {
		case err == nil:
			f.owed, f.held = false, f.held && n > 0
			f.drop()
			return
		case errors.Is(err, errNoMachine):
			f.owed = false
			return
		case ctx.Err() != nil:
			return // silence; it may come yet, so the conversation stays
		}
		f.held = false // by our count it cannot be known any more
		if f.refusals++; f.refusals >= maxRefusals {
			f.owed = false
			return
		}
		f.drop()
		select {
		case <-ctx.Done():
		case <-time.After(f.again):
		}
	}
}

// thawOnce asks within a conversation that is whole. After a freeze in time the
// thaw is the next command; after anything else the answers have to be sorted.
func (f *freezer) thawOnce(ctx context.Context) (int64, error) {
	if !f.held || f.a == nil {
		f.held = false
		if err := f.converse(ctx); err != nil {
			return 0, err
		}
	}
	n, err := f.a.Thaw(ctx)
	if err != nil {
		f.held = false
	}
	return n, err
}

var errNoMachine = errors.New("the machine has ended")

// converse begins a conversation, or goes on with the one there is.
func (f *freezer) converse(ctx context.Context) error {
	if f.a == nil {
		var nd net.Dialer
		c, err := nd.DialContext(ctx, "unix", f.socket)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
			return errors.Join(errNoMachine, err)
		}
		if err != nil {
			return err
		}
		pid, err := peerPID(c)
		if err == nil && f.peer != 0 && f.peer != pid {
			err = errNoMachine // and another listens where it did
		}
		if err != nil {
			return errors.Join(err, c.Close())
		}
		f.peer, f.a = pid, agent.New(c)
	}
	return f.a.Sync(ctx)
}

// drop ends the conversation.
func (f *freezer) drop() {
	if f.a != nil {
		_ = f.a.Close() // nothing is to be written any more
		f.a = nil
	}
}
