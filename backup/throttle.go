package backup

import (
	"context"
	"fmt"
)

// keyThrottle is journalled before the second try of a backup whose scratch was
// exhausted: the bytes per second that its VPS may write during it.
const keyThrottle = "throttle"

// throttle is the limit that is in force for the points in time that are still
// to be taken; 0 is none.
func (b *attempt) throttle() (bytesPerSecond int64, err error) {
	_, err = b.run.Load(keyThrottle, &bytesPerSecond)
	return bytesPerSecond, err
}

// slower allows another try of a backup that the VPS has written the scratch
// full under: one for all claims, if the operator wants VPSs to be slowed down
// for it. A place that was full before the point in time does not count.
func (b *attempt) slower(ctx context.Context) (again bool, err error) {
	limit, err := b.throttle()
	if err != nil || limit > 0 || b.Limits.RetryWriteBytesPerSecond <= 0 || b.point == nil || !b.point.Taken {
		return false, err
	}
	if err := b.run.Save(ctx, keyThrottle, b.Limits.RetryWriteBytesPerSecond); err != nil {
		return false, err
	}
	return true, nil
}

// brake is the one of the point in time. The latency of a VPS that we slow down
// ourselves is no reason to wait.
func (b *attempt) brake() *brake {
	limits := b.Limits
	if n := b.point.Handle.WriteBytesPerSecond; n > 0 {
		limits.WriteLatency = 0
		b.meter.say(fmt.Sprintf("again, with the VPS's writes limited to %d bytes per second because they had filled the host's scratch space", n))
	}
	return newBrake(limits, b.latency, b.meter.say, b.Log)
}
