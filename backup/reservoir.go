package backup

import (
	"math"
	"math/rand/v2"
	"slices"
)

// reservoir chooses n of all the chunks it is shown, each with the same chance,
// without knowing how many will come (Li, "Reservoir-sampling algorithms of time
// complexity O(n(1+log(N/n)))", algorithm L).
type reservoir struct {
	n      int
	rand   *rand.Rand
	picked []uint64
	seen   uint64  // chunks shown
	next   uint64  // the number, among those shown, of the next to be taken
	w      float64 // the largest of n random keys that are below 1
}

func newReservoir(n int, r *rand.Rand) *reservoir {
	return &reservoir{n: n, rand: r, w: 1}
}

func (r *reservoir) add(c span) {
	for c.first < c.end && len(r.picked) < r.n {
		r.picked = append(r.picked, c.first)
		c.first++
		if r.seen++; len(r.picked) == r.n {
			r.skip()
		}
	}
	all := r.seen + (c.end - c.first)
	for r.seen < all && r.next < all {
		r.picked[r.rand.IntN(r.n)] = c.first + (r.next - r.seen)
		r.skip()
	}
	r.seen = all
}

// skip draws which is the next to be taken.
func (r *reservoir) skip() {
	r.w *= math.Exp(math.Log(r.unit()) / float64(r.n))
	from := max(r.seen, r.next+1)
	r.next = from + uint64(min(math.Floor(math.Log(r.unit())/math.Log1p(-r.w)), 1<<62))
}

// unit is a random number above 0, and at most 1.
func (r *reservoir) unit() float64 { return 1 - r.rand.Float64() }

// chosen are the chunks that were taken, ascending.
func (r *reservoir) chosen() []uint64 {
	slices.Sort(r.picked)
	return r.picked
}
