package qemu

import (
	"fmt"
	"strings"
	"testing"

	"holdfast/compute"
)

// bitmaps reads "a b! c?": b! does not record, c? is inconsistent.
func bitmaps(list string) []bitmap {
	var out []bitmap
	for f := range strings.FieldsSeq(list) {
		name := strings.TrimRight(f, "!?")
		out = append(out, bitmap{
			Name: bitmapPrefix + name, Recording: name == f, Inconsistent: strings.HasSuffix(f, "?"),
		})
	}
	return out
}

// acts writes actions as "merge c,d into b, enable b, remove c".
func acts(list []action) string {
	var out []string
	for _, a := range list {
		verb := strings.TrimPrefix(a.Type, "block-dirty-bitmap-")
		if verb == "merge" {
			from := ""
			switch list := a.Data["bitmaps"].(type) {
			case []string:
				from = strings.ReplaceAll(strings.Join(list, ","), bitmapPrefix, "")
			case []args:
				var each []string
				for _, b := range list {
					each = append(each, strings.TrimPrefix(b["name"].(string), bitmapPrefix)+"@"+b["node"].(string))
				}
				from = strings.Join(each, ",")
			}
			out = append(out, fmt.Sprintf("merge %s into %s", from, strings.TrimPrefix(a.Data["target"].(string), bitmapPrefix)))
			continue
		}
		out = append(out, verb+" "+strings.TrimPrefix(a.Data["name"].(string), bitmapPrefix))
	}
	return strings.Join(out, ", ")
}

// stack reads layers, the highest first: "^a | a b" is one in which a goes on from
// the one below.
func stack(list string) []tracked {
	var out []tracked
	for i, each := range strings.Split(list, "|") {
		layer := tracked{node: fmt.Sprint(i), bitmaps: bitmaps(strings.ReplaceAll(each, "^", ""))}
		for f := range strings.FieldsSeq(each) {
			if name, on := strings.CutPrefix(f, "^"); on {
				layer.goesOn = append(layer.goesOn, bitmapPrefix+strings.TrimRight(name, "!?"))
			}
		}
		out = append(out, layer)
	}
	return out
}

func points(list string) []compute.Point {
	var out []compute.Point
	for f := range strings.FieldsSeq(list) {
		out = append(out, compute.Point(f))
	}
	return out
}

func TestPlan(t *testing.T) {
	for _, c := range []struct{ have, parents, parent, lost, acts, why string }{
		{"", "", "", "", "", "the first backup"},
		{"", "b", "", lostMissing, "", "the disk was replaced, or QEMU killed before it saved"},
		{"b", "b a", "b", "", "", "the usual"},
		{"b", "", "", "", "remove b", "its backup was deleted"},
		{"a", "b a", "a", "", "", "the point of b was ended as abandoned, then committed"},
		{"b a!", "b a", "b", "", "remove a", "committed, and never ended"},
		{"a! c", "b a", "a", "", "merge c into a, enable a, remove c", "abandoned, and never ended"},
		{"a c", "a", "a", "", "remove c", "a stray that nothing depends on"},
		{"a!", "a", "", lostMissing, "remove a", "frozen, and what followed is gone"},
		{"b?", "b", "", lostInconsistent, "remove b", "QEMU was killed"},
		{"a? b?", "b a", "", lostInconsistent, "remove a, remove b", "QEMU was killed during a point"},
		{"b? a", "b a", "a", "", "remove b", "the older one is whole"},
		{"a! c?", "a", "", lostInconsistent, "remove a, remove c", "frozen, and what followed is broken"},
		{"^a | a", "b a", "a", "", "merge a@1 into a", "a snapshot since"},
		{"^a | ^a | a | z", "a", "a", "", "merge a@1,a@2 into a", "two of them"},
		{"b | a", "b a", "b", "", "", "a backup since the snapshot"},
		{"b | ^b | b", "b", "b", "", "", "one of that name that has nothing to do with it"},
		{"^a! c | a", "a", "a", "", "merge c into a, enable a, merge a@1 into a, remove c", "abandoned, and never ended"},
		{"^a | a?", "a", "", lostInconsistent, "remove a", "killed while the layer below was written to"},
		{"^a | | a", "a", "", lostMissing, "remove a", "never saved"},
		{"^a", "a", "", lostMissing, "remove a", "there is no layer below"},
		{"^a | a!", "a", "", lostMissing, "remove a", "frozen, and what followed is gone"},
		{" | a", "a", "", lostMissing, "", "killed before it was saved: the layer below alone has not all"},
		{"^a? | a", "a", "", lostInconsistent, "remove a", "killed"},
	} {
		p := planDisk(stack(c.have), points(c.parents))
		if string(p.parent) != c.parent || p.lost != c.lost || acts(p.before) != c.acts {
			t.Errorf("%s (%q with parents %q): parent %q, lost %q, %q", c.why, c.have, c.parents, p.parent, p.lost, acts(p.before))
		}
	}
}

func TestSettle(t *testing.T) {
	for _, c := range []struct {
		have, parent string
		outcome      compute.Outcome
		acts, why    string
	}{
		{"n p!", "p", compute.Committed, "remove p", "the usual"},
		{"n p!", "p", compute.Abandoned, "merge n into p, enable p, remove n", "the usual"},
		{"n", "", compute.Committed, "", "the first backup"},
		{"n", "", compute.Abandoned, "remove n", "the first backup"},
		{"p", "p", compute.Abandoned, "", "cut off before the point in time"},
		{"n? p?", "p", compute.Abandoned, "remove n", "QEMU was killed: the next point finds p"},
		{"n? p?", "p", compute.Committed, "remove p", "QEMU was killed"},
		{"n", "p", compute.Abandoned, "remove n", "the parent's is gone"},
		{"", "p", compute.Abandoned, "", "all is gone"},
		{"n x p!", "p", compute.Committed, "remove p", "others are not ours to judge"},
	} {
		if got := acts(settle("disk0", bitmaps(c.have), "n", compute.Point(c.parent), c.outcome)); got != c.acts {
			t.Errorf("%s (%q): %q", c.why, c.have, got)
		}
	}
}

func TestCarried(t *testing.T) {
	for _, c := range []struct{ from, tracks, have, acts, why string }{
		{"a", "a", "a", "", "it has recorded what was written"},
		{"b", "", "a", "remove a, add b, merge b@d-disk0.x into b", "a backup since"},
		{"b", "", "b", "", "it was cut off after this"},
		{"b", "", "b?", "remove b, add b, merge b@d-disk0.x into b", "and killed"},
		{"", "", "a", "", "killed before the layer's was saved: the lower one has it all now"},
		{"a?", "a", "a", "", "killed, the same"},
		{"a? b", "a", "a", "remove a, add b, merge b@d-disk0.x into b", "killed, and backed up"},
		{"b!", "", "a", "", "not all of it"},
		{"a", "a", "", "", "the lower one is lost, and not to be had again"},
		{"", "", "a? b!", "remove a, remove b", "good for nothing"},
	} {
		y := layer{Name: "x", Tracks: map[string][]string{"disk0": stack("^" + c.tracks)[0].goesOn}}
		if got := acts(carried(y, "disk0", "below", bitmaps(c.from), bitmaps(c.have))); got != c.acts {
			t.Errorf("%s (%q to %q): %q", c.why, c.from, c.have, got)
		}
	}
}

func TestBitset(t *testing.T) {
	b := newBitset(300)
	b.set(3, 5)
	b.set(60, 200)
	b.set(299, 300)
	b.set(7, 7)
	want := func(i int64) bool { return i >= 3 && i < 5 || i >= 60 && i < 200 || i == 299 }
	for i := range int64(300) {
		if b.get(i) != want(i) {
			t.Errorf("bit %d", i)
		}
		next := i + 1
		for next < 300 && want(next) == want(i) {
			next++
		}
		if got := b.next(i, 300); got != next {
			t.Errorf("next of %d is %d, not %d", i, got, next)
		}
		for j := i; j <= 300; j++ {
			some := false
			for k := i; k < j; k++ {
				some = some || want(k)
			}
			if b.any(i, j) != some {
				t.Errorf("any of %d to %d", i, j)
			}
		}
	}
}
