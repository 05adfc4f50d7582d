package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"holdfast/test/guest/guestlog"
)

const (
	noiseSize  = 64 << 10
	noiseEvery = 16
	noiseFrom  = 32 << 20 // behind the log, and away from its chunks
	noiseEnd   = 64 << 20
)

// logger runs at most one log at a time.
type logger struct {
	mu      sync.Mutex
	quit    chan struct{} // closed to end the writer; nil when none runs
	done    chan struct{} // closed when it has ended
	failure error         // why it ended by itself

	last  atomic.Uint64
	watch stopwatch // of each write to a disk
}

// start begins or continues the log on the devices dev=…&dev=…, in that order.
func (l *logger) start(r *http.Request) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.quit != nil {
		return "", errors.New("a log is being written already")
	}
	var files []timed
	var disks []guestlog.Device
	closeAll := func() (err error) {
		for _, f := range files {
			err = errors.Join(err, f.Close())
		}
		return err
	}
	for _, path := range r.URL.Query()["dev"] {
		f, err := os.OpenFile(path, os.O_RDWR|syscall.O_DIRECT|syscall.O_DSYNC, 0)
		if err != nil {
			return "", errors.Join(err, closeAll())
		}
		file := timed{f, &l.watch}
		files = append(files, file)
		disks = append(disks, direct{file})
	}
	writer, err := guestlog.NewWriter(rand.Uint64()|1, aligned(guestlog.SlotSize), disks...)
	if err != nil {
		return "", errors.Join(err, closeAll())
	}
	l.quit, l.done, l.failure = make(chan struct{}), make(chan struct{}), nil
	l.last.Store(writer.Last())
	go func() {
		err := errors.Join(l.write(writer, files), closeAll())
		if err != nil {
			fmt.Println("GUEST-FAILED log:", err)
		}
		l.failure = err
		close(l.done)
	}()
	return strconv.FormatUint(writer.Last(), 10), nil
}

// write appends until it is told to stop, with noise between the entries.
func (l *logger) write(writer *guestlog.Writer, files []timed) error {
	noise := aligned(noiseSize)
	randomize, err := pattern("random", rand.Uint64())
	if err != nil {
		return err
	}
	for {
		select {
		case <-l.quit:
			return nil
		default:
		}
		if err := writer.Append(); err != nil {
			return err
		}
		l.last.Store(writer.Last())
		if writer.Last()%noiseEvery == 0 {
			randomize(noise)
			if err := writeNoise(noise, files); err != nil {
				return err
			}
		}
	}
}

// writeNoise writes one block at a random place of each disk that reaches so
// far.
func writeNoise(noise []byte, files []timed) error {
	at := noiseFrom + rand.Int64N((noiseEnd-noiseFrom)/noiseSize)*noiseSize
	for _, f := range files {
		// ENOSPC from a block device: the place lies behind its end.
		if _, err := f.WriteAt(noise, at); err != nil && !errors.Is(err, syscall.ENOSPC) {
			return err
		}
	}
	return nil
}

// stop ends the log; the disks are at rest when it answers.
func (l *logger) stop(*http.Request) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.quit == nil {
		return "", errors.New("no log is being written")
	}
	close(l.quit)
	<-l.done
	l.quit = nil
	return strconv.FormatUint(l.last.Load(), 10), l.failure
}

// count is the number of the last entry that is durable on every disk. It is
// an error once the writer has failed, so that no test waits for it in vain.
func (l *logger) count(*http.Request) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done != nil {
		select {
		case <-l.done:
			if l.failure != nil {
				return "", l.failure
			}
		default:
		}
	}
	return strconv.FormatUint(l.last.Load(), 10), nil
}

// direct makes reads of any buffer possible on a file opened with O_DIRECT.
type direct struct{ timed }

func (d direct) ReadAt(p []byte, off int64) (int, error) {
	buffer := aligned(len(p))
	n, err := d.File.ReadAt(buffer, off)
	return copy(p, buffer[:n]), err
}

// aligned is a buffer that direct I/O accepts.
func aligned(n int) []byte {
	const page = 4096
	b := make([]byte, n+page)
	shift := (page - int(uintptr(unsafe.Pointer(&b[0]))%page)) % page
	return b[shift:][:n]
}
