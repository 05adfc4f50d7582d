package control

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"holdfast"
)

// diskGrowth is what became of the room that a disk has more than the backup's,
// on the wire.
type diskGrowth struct {
	Disk      string `json:"disk"`
	Partition *int   `json:"partition"` // that has grown
	Note      string `json:"note"`
}

const (
	maxGrown      = 64
	maxGrowthNote = 512 // bytes
)

var diskName = regexp.MustCompile(`^[a-z0-9]{1,16}$`)

// growthOf takes nothing from a host that cannot be.
func growthOf(reported []holdfast.DiskGrowth) ([]diskGrowth, error) {
	if len(reported) > maxGrown {
		return nil, fmt.Errorf("%w: %d disks have grown", errRefused, len(reported))
	}
	out := []diskGrowth{}
	for _, g := range reported {
		strange := func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }
		if !diskName.MatchString(g.Disk) || g.Partition < 0 || g.Partition > 1024 || len(g.Note) > maxGrowthNote || strings.ContainsFunc(g.Note, strange) {
			return nil, fmt.Errorf("%w: the growth of disk %.20q, partition %d", errRefused, g.Disk, g.Partition)
		}
		d := diskGrowth{Disk: g.Disk, Note: g.Note}
		if g.Partition > 0 {
			d.Partition = &g.Partition
		}
		out = append(out, d)
	}
	return out, nil
}
