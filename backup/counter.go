package backup

import (
	"io"
	"sync/atomic"
)

// counter counts the bytes read from a disk and tells how many there were so
// far. It is safe for concurrent use.
type counter struct {
	src  io.ReaderAt
	tell func(read int64)
	n    atomic.Int64
}

// ReadAt implements io.ReaderAt.
func (c *counter) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.src.ReadAt(p, off)
	c.tell(c.n.Add(int64(n)))
	return n, err
}
