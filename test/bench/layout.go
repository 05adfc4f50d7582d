package main

// The disk is made of groups, as a file system's are. Each is filled from its
// start with files, side by side, to a share of itself, and is a hole beyond:
// 0.41 of the disk is data.
const groupSize = 128 << 20

var groupFill = []float64{1, 0, 0.5, 0, 1, 0.1, 0.3, 0.4}

// Of 100 files so many are of each kind. The other 3 are copies of earlier ones: of
// the files of a Debian server, 2.8 of 100 bytes were found to be another's too.
var mix = []struct {
	kind  kind
	share int64 // of 100 files
}{{code, 35}, {text, 15}, {records, 21}, {noise, 22}, {zeros, 4}}

const (
	block     = 4 << 10 // files begin at its multiples
	pieceSize = 1 << 20 // a file's pieces are made one by one
)

// content is one file on the disk.
type content struct {
	off, size int64
	kind      kind
	seed      uint64
}

// layout says what lies on a disk of the given size.
func layout(size int64) []content {
	d := dice(2026)
	var files []content
	group := min(groupSize, size/int64(len(groupFill))/block*block)
	for i := int64(0); i*group < size; i++ {
		start := i * group
		end := start + int64(groupFill[i%int64(len(groupFill))]*float64(min(group, size-start)))/block*block
		for at := start; at < end; {
			f := draw(&d, files)
			f.off, f.size = at, min(f.size, end-at)
			files = append(files, f)
			at += (f.size + block - 1) / block * block
		}
	}
	return files
}

func draw(d *dice, earlier []content) content {
	at := d.below(100)
	for _, m := range mix {
		if at < m.share {
			return content{size: d.spread(block, 32<<20), kind: m.kind, seed: d.roll()}
		}
		at -= m.share
	}
	if len(earlier) == 0 {
		return content{size: block, kind: text, seed: d.roll()}
	}
	return earlier[d.below(int64(len(earlier)))]
}

// pieces calls do for each piece of the file with its place on the disk and its seed.
func (c content) pieces(do func(off, size int64, seed uint64) error) error {
	d := dice(c.seed)
	for at := int64(0); at < c.size; at += pieceSize {
		if err := do(c.off+at, min(pieceSize, c.size-at), d.roll()); err != nil {
			return err
		}
	}
	return nil
}
