package main

import (
	"fmt"
	"slices"
)

// sample is what repeated measurements gave.
type sample struct{ median, low, high float64 }

// String is the median and, in parentheses, the lowest and the highest.
func (s sample) String() string { return fmt.Sprintf("%.2f (%.2f to %.2f)", s.median, s.low, s.high) }

// sampled takes one number from each usage. There must be one.
func sampled(taken []usage, of func(usage) float64) sample {
	values := make([]float64, 0, len(taken))
	for _, u := range taken {
		values = append(values, of(u))
	}
	slices.Sort(values)
	n := len(values)
	return sample{(values[(n-1)/2] + values[n/2]) / 2, values[0], values[n-1]}
}

func wall(u usage) float64      { return u.Wall }
func user(u usage) float64      { return u.User }
func system(u usage) float64    { return u.System }
func proofUser(u usage) float64 { return u.report.User }
func peak(u usage) float64      { return float64(u.Peak) / (1 << 20) }
