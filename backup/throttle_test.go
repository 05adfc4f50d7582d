package backup_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"holdfast"
	"holdfast/backup"
	"holdfast/compute/sim"
)

// busy is a guest that writes the scratch full before the commit of each backup
// during which nobody limits its writes, or of all of them. begun counts the
// points in time.
func busy(w *world, p *process, always bool) (begun *atomic.Int32) {
	begun = new(atomic.Int32)
	p.inject(sim.Faults{ScratchBytes: 2 * block}, func(name string, _ int) error {
		if name == "begin" {
			begun.Add(1)
		}
		if name != "recover" || !always && p.sim.WriteLimit(string(w.vps.ID)) > 0 {
			return nil
		}
		return p.sim.WriteDisk(string(w.vps.ID), "disk0", make([]byte, 4*block), 0)
	})
	return begun
}

// said is whether the job has shown this.
func (p *process) said(text string) bool {
	p.door.mu.Lock()
	defer p.door.mu.Unlock()
	for _, claim := range p.door.shown {
		for _, s := range claim {
			if strings.Contains(s.Message, text) {
				return true
			}
		}
	}
	return false
}

// TestScratchRetry: a backup whose scratch was exhausted is tried once more with
// the VPS slowed down, if the operator wants that, and says so.
func TestScratchRetry(t *testing.T) {
	const limit = 1 << 20
	again := "again, with the VPS's writes limited to 1048576 bytes per second"
	t.Run("off", func(t *testing.T) {
		w := newWorld(t)
		p := w.process()
		busy(w, p, false)
		o := w.ask()
		p.finish(o)
		w.failed(o, holdfast.CodeScratchExhausted)
		if p.said(again) {
			t.Error("the VPS was slowed down though nobody had asked for it")
		}
	})
	t.Run("once", func(t *testing.T) {
		w := newWorld(t)
		p := w.process()
		p.service.Limits = backup.Limits{RetryWriteBytesPerSecond: limit}
		busy(w, p, false)
		o := w.ask()
		p.finish(o)
		b := w.completed(o)
		w.holds(b, w.contents(w.vps))
		if b.Latency == nil || b.Latency.WriteLimit != limit || !p.said(again) {
			t.Errorf("the backup does not say that the VPS was slowed down: %+v", b.Latency)
		}
		if n := p.sim.WriteLimit(string(w.vps.ID)); n != 0 {
			t.Errorf("the VPS may still write only %d bytes per second", n)
		}
		w.clean()
		o = w.ask()
		p = w.process()
		p.service.Limits = backup.Limits{RetryWriteBytesPerSecond: limit}
		p.finish(o)
		if b := w.completed(o); b.Latency != nil {
			t.Errorf("the next backup is limited, too: %+v", b.Latency)
		}
	})
	t.Run("in vain", func(t *testing.T) {
		w := newWorld(t)
		p := w.process()
		p.service.Limits = backup.Limits{RetryWriteBytesPerSecond: limit}
		begun := busy(w, p, true)
		o := w.ask()
		p.finish(o)
		w.failed(o, holdfast.CodeScratchExhausted)
		if n := p.sim.WriteLimit(string(w.vps.ID)); n != 0 || begun.Load() != 2 {
			t.Errorf("%d tries; the VPS may write %d bytes per second afterwards", begun.Load(), n)
		}
	})
	t.Run("once for all claims", func(t *testing.T) {
		w := newWorld(t)
		first := w.process()
		first.service.Limits = backup.Limits{RetryWriteBytesPerSecond: limit}
		busy(w, first, false)
		dead := make(chan struct{})
		first.door.journal = func(key string, n int) {
			if key == "point" && n > 4 && first.sim.WriteLimit(string(w.vps.ID)) > 0 { // of the second try, which has begun
				first.die()
				close(dead)
			}
		}
		o := w.ask()
		first.run(dead)
		second := w.process()
		second.service.Limits = first.service.Limits
		begun := busy(w, second, true)
		w.ahead.Store(int64(2 * ttl))
		second.finish(o)
		w.failed(o, holdfast.CodeScratchExhausted)
		if begun.Load() != 1 { // what the first had begun was cut off
			t.Errorf("%d tries of the successor", begun.Load())
		}
	})
}
