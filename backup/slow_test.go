package backup_test

import (
	"strings"
	"testing"
	"time"

	"holdfast/backup"
	"holdfast/compute/sim"
)

// TestSlowWrites: while the VPS's writes are slow its backup waits and says so;
// how they were is kept with it.
func TestSlowWrites(t *testing.T) {
	w := newWorld(t)
	p := w.process()
	p.service.Limits = backup.Limits{WriteLatency: 100 * time.Millisecond, Every: 5 * time.Millisecond}
	said := func() bool {
		p.door.mu.Lock()
		defer p.door.mu.Unlock()
		for _, claim := range p.door.shown {
			for _, s := range claim {
				if strings.Contains(s.Message, "waiting because the VPS's writes take up to 500ms") {
					return true
				}
			}
		}
		return false
	}
	p.inject(sim.Faults{ReadDelay: 5 * time.Millisecond, WriteTakes: func() time.Duration {
		if !said() {
			return 300 * time.Millisecond
		}
		return time.Millisecond
	}}, nil)
	o := w.ask()
	p.finish(o)
	b := w.completed(o)
	w.holds(b, w.contents(w.vps))
	if l := b.Latency; l == nil || l.Before.Writes != 100 || l.Before.P99 != 1000 || l.During.P50 == 0 || l.During.P99 != 500_000 {
		t.Errorf("the latency is %+v", b.Latency)
	}
	if !said() {
		t.Error("the job did not say why it waited")
	}
	p.neverBack()
	if b := w.backup(); b.Latency != nil {
		t.Errorf("nobody measured, and the latency is %+v", b.Latency)
	}
}
