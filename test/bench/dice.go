package main

// dice are SplitMix64 (Steele, Lea, Flood 2014): the same numbers everywhere
// and for ever, which the disk must be made of.
type dice uint64

func (d *dice) roll() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below is a number from 0 to n-1; n is small beside 2⁶⁴.
func (d *dice) below(n int64) int64 { return int64(d.roll() % uint64(n)) } //nolint:gosec // n is positive

// spread is a size from low to below high, each power of two as likely as another.
func (d *dice) spread(low, high int64) int64 {
	steps := int64(0)
	for low<<steps < high {
		steps++
	}
	base := low << d.below(steps)
	return min(base+d.below(base), high-1)
}
