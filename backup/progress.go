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
	m.run.Progress(current, total, message)
}
