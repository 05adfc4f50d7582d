//go:build vm

package qemu

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"holdfast/compute"
)

// model is what a guest has on a disk, kept beside it.
type model []byte

func (m model) write(t testing.TB, d *Driver, id, disk string, pattern byte, off, n int) {
	t.Helper()
	guest(t, d, id, disk, fmt.Sprintf("write -P %d %d %d", pattern, off, n))
	copy(m[off:], bytes.Repeat([]byte{pattern}, n))
}

// TestLiveRounds is the product's promise at its lowest level: a full round and
// three incremental ones, two disks, with the guest writing before, during and
// after each, give images that are bit for bit those of the instant.
func TestLiveRounds(t *testing.T) {
	d := newDriver(t)
	m := machine(24*mib, 10*mib+512)
	define(t, d, m, true)
	rng := rand.New(rand.NewPCG(1, 2))
	models := []model{make(model, 24*mib), make(model, 10*mib+512)}
	scribble := func(times int) {
		for range times {
			i := rng.IntN(2)
			n := 512 * (1 + rng.IntN(300))
			off := 512 * rng.IntN((len(models[i])-n)/512+1)
			models[i].write(t, d, m.ID, m.Disks[i].Name, byte(1+rng.IntN(200)), off, n)
		}
	}
	images := make([]image, 2)
	var parents []compute.Point
	for round := range 4 {
		scribble(8)
		p := compute.Point(fmt.Sprintf("01backup%d.1", round))
		h := begin(t, d, m, p, parents...)
		want := []model{bytes.Clone(models[0]), bytes.Clone(models[1])}
		if h.Frozen || h.NotFrozen != "the guest has no agent running" {
			t.Errorf("of firmware: %+v", h)
		}
		scribble(6)
		if err := d.Recover(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		for i := range images {
			if round > 0 && h.Disks[i].Parent != parents[0] {
				t.Fatalf("round %d: parent of %+v", round, h.Disks[i])
			}
			images[i].update(t, d, h, i)
			if !bytes.Equal(images[i].data, want[i]) {
				t.Fatalf("round %d: disk %d differs at %d", round, i, firstDifference(images[i].data, want[i]))
			}
			t.Logf("round %d disk %d: %d KiB read", round, i, images[i].read>>10)
		}
		if err := d.Recover(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		end(t, d, h, compute.Committed)
		end(t, d, h, compute.Committed)
		if _, err := os.Stat(d.scratchDir(m.ID)); !os.IsNotExist(err) {
			t.Errorf("scratch is left: %v", err)
		}
		parents = append([]compute.Point{p}, parents...)
	}
	bitmapsAre(t, d, m.ID, "hf-01backup3.1")
	statusIs(t, d, m.ID, compute.Running)
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// bitmapsAre checks which bitmaps each disk of a running machine has.
func bitmapsAre(t testing.TB, d *Driver, id string, want ...string) {
	t.Helper()
	m, err := d.load(id)
	if err != nil {
		t.Fatal(err)
	}
	err = converse(t, d, id, func(ctx context.Context, s *session) error {
		nodes, err := s.nodes(ctx)
		for _, dk := range m.Disks {
			var have []string
			for _, b := range nodes[s.layers.top(dk.Name)] {
				have = append(have, b.Name)
				if !b.Recording || b.Busy || b.Inconsistent {
					t.Errorf("%s: bitmap %+v", dk.Name, b)
				}
			}
			if fmt.Sprint(have) != fmt.Sprint(want) {
				t.Errorf("%s: bitmaps %v, want %v", dk.Name, have, want)
			}
		}
		for name := range nodes {
			if pointNode.MatchString(name) {
				t.Errorf("node %s is left", name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
