package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

const smallDisk = 16 << 20

func sum(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:8])
}

// The disk and its changes are the same everywhere, or figures of two machines
// cannot be compared.
func TestDiskIsTheSameEverywhere(t *testing.T) {
	h := sha256.Sum256(fmt.Append(nil, layout(8<<30)))
	if got := hex.EncodeToString(h[:8]); got != "002728a0966e5960" {
		t.Errorf("the layout of 8 GiB is %s", got)
	}
	path := filepath.Join(t.TempDir(), "disk")
	if err := makeDisk(path, smallDisk, smallDisk); err != nil {
		t.Fatal(err)
	}
	if got := sum(t, path); got != "d6fee4ff5f6a2ed9" {
		t.Errorf("the disk is %s", got)
	}
	if err := change(smallDisk, 1, path+".list", path); err != nil {
		t.Fatal(err)
	}
	if got := sum(t, path); got != "bed4732919917f31" {
		t.Errorf("the changed disk is %s", got)
	}
}

func TestLayoutShares(t *testing.T) {
	const size = 8 << 30
	bytes, end := map[kind]int64{}, int64(0)
	total := int64(0)
	for _, f := range layout(size) {
		if f.off < end || f.off%block != 0 || f.size <= 0 || f.off+f.size > size {
			t.Fatalf("a file of %d bytes at %d, after %d", f.size, f.off, end)
		}
		end = f.off + f.size
		bytes[f.kind] += f.size
		total += f.size
	}
	if share := float64(total) / size; share < 0.40 || share > 0.42 {
		t.Errorf("%.3f of the disk is data", share)
	}
	if share := float64(bytes[noise]) / float64(total); share < 0.15 || share > 0.30 {
		t.Errorf("%.3f of the data is noise", share)
	}
	changed := int64(0)
	for _, r := range changes(size, 1) {
		changed += r.Length
	}
	if share := float64(changed) / size; share < 0.0095 || share > 0.0105 {
		t.Errorf("%.4f of the disk changes", share)
	}
}

// What is measured works: a full backup, an incremental by the list of changes,
// its restore and its proof.
func TestEngine(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	disk, list, out := filepath.Join(dir, "disk.img"), filepath.Join(dir, "list"), filepath.Join(dir, "out", "disk.img")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(makeDisk(disk, smallDisk, smallDisk))
	must(initVault(ctx, dir))
	must(backUp(ctx, dir, disk, "b0", "", ""))
	must(change(smallDisk, 1, list, disk))
	must(backUp(ctx, dir, disk, "b1", "b0", list))
	must(os.Mkdir(filepath.Dir(out), 0o700))
	must(restore(ctx, dir, "b1", out))
	must(same(disk, filepath.Dir(out)))
	r, err := verify(ctx, dir)
	must(err)
	if r.Bytes < smallDisk/10 {
		t.Errorf("%d bytes were proved", r.Bytes)
	}
	if r, err = randomReads(ctx, dir, "b1"); err != nil || r.P50 <= 0 || r.P99 < r.P50 {
		t.Errorf("reads: %+v, %v", r, err)
	}
	must(os.Remove(out))
	must(restore(ctx, dir, "b0", out))
	if err := same(disk, filepath.Dir(out)); err == nil {
		t.Error("the disk before the change passes for the one after it")
	}
}

func TestBare(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	if err := makeDisk(disk, smallDisk, smallDisk); err != nil {
		t.Fatal(err)
	}
	r, err := bareVerify(t.Context(), disk)
	if err != nil || r.Bytes < smallDisk/10 || r.User <= 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestReport(t *testing.T) {
	one := func(wall, user float64) []usage { return []usage{{Wall: wall, User: user, report: report{User: user}}} }
	c := &contest{size: smallDisk, rounds: 1, stored: map[string]int64{ours: 100 << 20, "borg": 50 << 20}, taken: map[string]map[string][]usage{
		full:        {ours: one(1, 1), bareRow: one(1, 1), "borg": one(4, 4)},
		incremental: {ours: one(1, 1), largerName: one(1, 1), "borg": one(2, 4)},
		restored:    {ours: one(1, 1), copier: one(1, 1), "borg": one(4, 4)},
		verified:    {ours: one(1, 1), bareRow: one(1, 1)},
		read:        {ours: one(1, 1)},
	}}
	c.facts.absent = []string{"borg"}
	alone := c.report()
	if !strings.Contains(alone, "left out: borg") || strings.Contains(alone, "fastest") {
		t.Errorf("without peers:\n%s", alone)
	}
	c.peers, c.facts.absent = []peer{{name: "borg"}}, nil
	text := c.report()
	for _, want := range []string{
		"| 1.00 s; borg 4.00 s | 0.25 × | ≤ 0.6 × | met |",
		"| 1.00 s; borg 2.00 s | 0.50 × | ≤ 0.25 × | missed |",
		"| 100.0 MiB; borg 50.0 MiB | 2.00 × | ≤ 1.05 × | missed |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestSample(t *testing.T) {
	s := sampled([]usage{{Wall: 9}, {Wall: 1}, {Wall: 2}, {Wall: 4}}, wall)
	if s != (sample{3, 1, 9}) {
		t.Errorf("got %v", s)
	}
}
func ratio(t *testing.T, k kind) float64 {
	t.Helper()
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 256<<10)
	plain, packed := 0, 0
	for seed := range uint64(8) {
		k.fill(p, seed+100)
		plain += len(p)
		packed += len(enc.EncodeAll(p, nil))
	}
	return float64(packed) / float64(plain)
}

func TestContent(t *testing.T) {
	for k, want := range map[kind]float64{code: 0.49, text: 0.27, records: 0.35, noise: 1, zeros: 0} {
		if got := ratio(t, k); got < want-0.02 || got > want+0.02 {
			t.Errorf("kind %d compresses to %.3f instead of %.2f", k, got, want)
		}
	}
}
