package backup

import (
	"context"
	"encoding/json"

	"holdfast"
	"holdfast/compute"
)

// felt is how the VPS has felt the backup, for its label; "" when it is not
// known, which does no harm to a backup.
func (b *attempt) felt(ctx context.Context) string {
	before, during, err := b.latency(ctx)
	limit := b.point.Handle.WriteBytesPerSecond
	if err != nil || before.Writes() == 0 && during.Writes() == 0 && limit == 0 {
		return ""
	}
	text, err := json.Marshal(holdfast.BackupLatency{Before: writeLatency(before), During: writeLatency(during), WriteLimit: limit})
	if err != nil {
		return ""
	}
	return string(text)
}

func (b *attempt) latency(ctx context.Context) (before, during compute.Latency, err error) {
	return b.Host.Driver.Latency(ctx, b.point.Handle)
}

func writeLatency(l compute.Latency) holdfast.WriteLatency {
	return holdfast.WriteLatency{Writes: l.Writes(), P50: l.Quantile(0.5).Microseconds(), P99: l.Quantile(0.99).Microseconds()}
}

// latencyOf reads the label; nil when there is none.
func latencyOf(label string) *holdfast.BackupLatency {
	var l holdfast.BackupLatency
	if label == "" || json.Unmarshal([]byte(label), &l) != nil {
		return nil
	}
	return &l
}
