package sim

// limit limits the writes of a machine's guest, or with 0 frees it.
func (h *Host) limit(machine string, bytesPerSecond int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.limits == nil {
		h.limits = map[string]int64{}
	}
	h.limits[machine] = bytesPerSecond
}

// WriteLimit is how many bytes per second the machine's guest may write because
// of a point in time that this Host has begun; 0 is no limit. WriteDisk does not
// wait for it: whoever plays the guest keeps to it.
func (h *Host) WriteLimit(machine string) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.limits[machine]
}
