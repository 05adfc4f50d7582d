package fault

import (
	"slices"
	"time"
)

// Fault is one armed failure. Its methods return it, to be chained; they are not
// to be called once the storage is in use.
type Fault struct {
	op     Op
	prefix string
	skip   int
	times  int // left; negative is for ever
	from   int // number of the first call it may hit

	before error
	after  error
	delay  time.Duration
	change func([]byte) []byte
	call   func(Call)
}

// On restricts the fault to names with a prefix.
func (f *Fault) On(prefix string) *Fault { f.prefix = prefix; return f }

// Skip lets the first n matching calls pass.
func (f *Fault) Skip(n int) *Fault { f.skip = n; return f }

// FromCall lets every call of the storage before number n pass.
func (f *Fault) FromCall(n int) *Fault { f.from = n; return f }

// Repeat makes the fault hit n calls instead of one.
func (f *Fault) Repeat(n int) *Fault { f.times = n; return f }

// Forever makes the fault hit every matching call.
func (f *Fault) Forever() *Fault { f.times = -1; return f }

// ErrorInstead makes the call fail without doing anything.
func (f *Fault) ErrorInstead(err error) *Fault { f.before = err; return f }

// ErrorAfter makes the call do its work and then fail: an answer that was lost.
func (f *Fault) ErrorAfter(err error) *Fault { f.after = err; return f }

// Delay makes the call take longer.
func (f *Fault) Delay(d time.Duration) *Fault { f.delay = d; return f }

// Change alters the bytes that are stored or read; it gets a copy.
func (f *Fault) Change(change func([]byte) []byte) *Fault { f.change = change; return f }

// Do is called before the operation.
func (f *Fault) Do(call func(Call)) *Fault { f.call = call; return f }

func (f *Fault) take(c Call) bool {
	if f.times == 0 || c.Number < f.from || f.op != Any && f.op != c.Op || !hasPrefix(c.Name, f.prefix) {
		return false
	}
	if f.skip > 0 {
		f.skip--
		return false
	}
	if f.times > 0 {
		f.times--
	}
	return true
}

func (f *Fault) changed(data []byte) []byte {
	if f.change == nil {
		return data
	}
	return f.change(slices.Clone(data))
}
