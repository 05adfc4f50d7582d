package main

import (
	"fmt"
	"io"
	"time"
)

// progress tells a person, or a log, how far a long command has come: a line a
// second at most, and none for what is over sooner.
type progress struct {
	w    io.Writer
	what string
	last time.Time
}

func newProgress(w io.Writer, what string) *progress {
	return &progress{w: w, what: what, last: time.Now()}
}

// tell is given what is done and is to be done, in bytes; a total of 0 is not known.
func (p *progress) tell(stage string, done, total int64) {
	if time.Since(p.last) < time.Second {
		return
	}
	p.last = time.Now()
	text := fmt.Sprintf("%s: %s: %d", p.what, stage, done)
	if total > 0 {
		text = fmt.Sprintf("%s: %s: %d of %d MiB, %d%%", p.what, stage, done>>20, total>>20, done*100/total)
	}
	_, _ = fmt.Fprintln(p.w, text) // nobody needs it
}
