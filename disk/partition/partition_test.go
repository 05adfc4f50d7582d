package partition

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const mib = 1 << 20

// table makes a disk with sfdisk, as an installer does.
func table(t testing.TB, size int64, script string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	sfdisk(t, script, "--no-reread", path)
	b, err := os.ReadFile(path) // #nosec G304 -- our own
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sfdisk(t testing.TB, in string, args ...string) []byte {
	t.Helper()
	name, err := exec.LookPath("sfdisk")
	if err != nil {
		name = "/usr/sbin/sfdisk" // outside of a user's PATH: apt-get install fdisk
	}
	c := exec.CommandContext(t.Context(), name, args...) // #nosec G204 -- a test's own
	c.Stdin = strings.NewReader(in)
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		t.Fatalf("sfdisk %v (apt-get install fdisk): %v\n%s%s", args, err, out, errs.String())
	}
	return out
}

// grown applies a change to a larger copy.
func grown(t testing.TB, disk []byte, now int64, c Change) []byte {
	t.Helper()
	out := append(slices.Clone(disk), make([]byte, now-int64(len(disk)))...)
	for i, w := range c.Writes {
		if w.Offset < 0 || w.Offset+int64(len(w.Data)) > now {
			t.Fatalf("a write of %d bytes at %d of %d", len(w.Data), w.Offset, now)
		}
		for _, o := range c.Writes[:i] {
			if w.Offset < o.Offset+int64(len(o.Data)) && o.Offset < w.Offset+int64(len(w.Data)) {
				t.Fatalf("writes overlap at %d and %d", w.Offset, o.Offset)
			}
		}
		copy(out[w.Offset:], w.Data)
	}
	return out
}

type part struct {
	Start, Size int64
	Type        string
}

// dump is what sfdisk finds, which has to be in order.
func dump(t *testing.T, disk []byte) (label string, parts []part) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "grown")
	if err := os.WriteFile(path, disk, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := sfdisk(t, "", "--verify", path); !bytes.Contains(out, []byte("No errors detected")) {
		t.Errorf("sfdisk --verify: %s", out)
	}
	var found struct {
		PartitionTable struct {
			Label      string
			Partitions []part
		}
	}
	if err := json.Unmarshal(sfdisk(t, "", "--json", path), &found); err != nil {
		t.Fatal(err)
	}
	return found.PartitionTable.Label, found.PartitionTable.Partitions
}

func TestGrow(t *testing.T) {
	const was = 64 * mib
	for _, c := range []struct {
		name, script string
		now          int64
		partition    int
		end          int64 // in sectors, of the one that grows
		why          string
	}{
		{"gpt", "label: gpt\nsize=8MiB, type=uefi\ntype=linux\n", 192 * mib, 2, 191 * 2048, ""},
		{"gpt, root first by number, last by place", "label: gpt\n1: start=30MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709\n2: start=1MiB, size=20MiB, type=uefi\n", 65 * mib, 1, 64 * 2048, ""},
		{"gpt, swap last", "label: gpt\nsize=8MiB, type=linux\ntype=swap\n", 192 * mib, 0, 0, "last partition (2)"},
		{"gpt, empty", "label: gpt\n", 192 * mib, 0, 0, "no partition."},
		{"mbr", "label: dos\nsize=8MiB, type=83\ntype=L\n", 191*mib + 4096, 2, 191 * 2048, ""},
		{"mbr, swap last", "label: dos\nsize=8MiB, type=83\ntype=82\n", 192 * mib, 0, 0, "type 82"},
		{"mbr, extended", "label: dos\nsize=8MiB, type=83\ntype=5\ntype=83\n", 192 * mib, 0, 0, "type 05"},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := table(t, was, c.script)
			change, err := Grow(bytes.NewReader(disk), was, c.now)
			if err != nil || change.Partition != c.partition || !strings.Contains(change.Why, c.why) || (change.Why == "") != (c.partition > 0) {
				t.Fatalf("%d writes, partition %d, %q, %v", len(change.Writes), change.Partition, change.Why, err)
			}
			label, parts := dump(t, grown(t, disk, c.now, change))
			_, old := dump(t, disk)
			if len(parts) != len(old) || !strings.HasPrefix(c.name, map[string]string{"gpt": "gpt", "dos": "mbr"}[label]) {
				t.Fatalf("a table of %s with %v, before %v", label, parts, old)
			}
			for i, p := range parts {
				if i+1 == c.partition {
					if p.Start+p.Size != c.end || change.Bytes != (p.Size-old[i].Size)*sector {
						t.Errorf("ends at %d, grown by %d: %+v", p.Start+p.Size, change.Bytes, p)
					}
					p.Size = old[i].Size
				}
				if p != old[i] {
					t.Errorf("partition %d was %+v and is %+v", i+1, old[i], p)
				}
			}
			again, err := Grow(bytes.NewReader(disk), was, c.now)
			if err != nil || len(again.Writes) != len(change.Writes) {
				t.Errorf("a second plan of %d writes, %v", len(again.Writes), err)
			}
		})
	}
}

// Whatever is not as it should be is left alone: a guest wrote it.
func TestLeft(t *testing.T) {
	const was, now = 64 * mib, 192 * mib
	gpt := table(t, was, "label: gpt\nsize=8MiB, type=uefi\ntype=linux\n")
	mbr := table(t, was, "label: dos\nsize=8MiB, type=83\ntype=L\n")
	with := func(disk []byte, off int, b ...byte) []byte {
		d := slices.Clone(disk)
		copy(d[off:], b)
		return d
	}
	for name, c := range map[string]struct {
		disk []byte
		was  int64
		now  int64
		why  string
	}{
		"zeros":                   {make([]byte, was), was, now, "no partition table"},
		"no more room":            {gpt, was, was, "not grown by enough"},
		"a FAT's boot sector":     {with(mbr, 446, 0x41), was, now, "no partition table"},
		"an entry is changed":     {with(gpt, 1024+40, 0xfe), was, now, "not whole"},
		"the header is changed":   {with(gpt, 512+72, 9), was, now, "not whole"},
		"no backup table":         {with(gpt, was-512, 0), was, now, "not whole"},
		"a table of another size": {gpt[:32*mib], 32 * mib, now, "not whole"},
		"beyond the disk":         {with(mbr, 446+16+12, 0xff, 0xff, 0xff, 0xff), was, now, "names sectors"},
		"overlapping":             {with(mbr, 446+16+8, 1, 8, 0, 0), was, now, "overlap"},
	} {
		got, err := Grow(bytes.NewReader(c.disk), c.was, c.now)
		if err != nil || len(got.Writes) > 0 || got.Partition != 0 || !strings.Contains(got.Why, c.why) {
			t.Errorf("%s: %d writes, partition %d, %q, %v", name, len(got.Writes), got.Partition, got.Why, err)
		}
	}
	if _, err := Grow(bytes.NewReader(gpt[:100]), was, now); err == nil {
		t.Error("a disk that cannot be read is planned for")
	}
}

func FuzzGrow(f *testing.F) {
	const was = 4 * mib
	for _, script := range []string{"label: gpt\nsize=1MiB, type=uefi\ntype=linux\n", "label: dos\ntype=83\n"} {
		disk := table(f, was, script)
		f.Add(disk[:34*sector], disk[was-33*sector:], int64(16*mib))
	}
	f.Fuzz(func(t *testing.T, head, tail []byte, now int64) {
		if now < was || now > 1<<50 || len(head) > mib || len(tail) > mib {
			return
		}
		disk := make([]byte, was)
		copy(disk, head)
		copy(disk[was-len(tail):], tail)
		c, err := Grow(bytes.NewReader(disk), was, now)
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for _, w := range c.Writes {
			total += len(w.Data)
			if w.Offset < 0 || w.Offset > now-int64(len(w.Data)) {
				t.Fatalf("%d bytes at %d of %d", len(w.Data), w.Offset, now)
			}
		}
		if total > 2*gptEntries*gptEntry+4*sector || (c.Why == "") != (c.Partition > 0) || c.Partition > 0 && (c.Bytes <= 0 || c.Bytes > now) {
			t.Fatalf("%d bytes written, partition %d grows by %d, %q", total, c.Partition, c.Bytes, c.Why)
		}
	})
}
