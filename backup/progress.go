package backup

import (
	"math"
	"sync"

	"holdfast/operation"
)

// meter publishes how far an operation has come. What it shows never goes back
// during one claim, though the work does when a point in time is lost, and never
// beyond the total. It is safe for concurrent use.
type meter struct {
	run *operation.Run

	mu   sync.Mutex
	peak float64 // the greatest share shown, 0 to 1
	note string  // why it is slow; "" when it is not
	last struct {
		current, total int64
		message        string
	}
}

// copying tells of current of total bytes. The last byte is the commit's, for a
// point in time can be lost up to there.
func (m *meter) copying(current, total int64, message string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	current = max(current, int64(math.Ceil(m.peak*float64(total))))
	current = max(min(current, total-1), 0)
	if total > 0 {
		m.peak = max(m.peak, float64(current)/float64(total))
	}
	m.last.current, m.last.total, m.last.message = current, total, message
	m.publish()
}

// say adds why the work is slow to what is shown, from now on; "" takes it away.
func (m *meter) say(note string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.note = note
	m.publish()
}

// publish shows what there is. The caller has the lock.
func (m *meter) publish() {
	message := m.last.message
	switch {
	case m.note != "" && message != "":
		message += ", " + m.note
	case m.note != "":
		message = m.note
	}
	m.run.Progress(m.last.current, m.last.total, message)
}
