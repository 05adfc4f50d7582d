package vault_test

import (
	"context"
	"errors"

	"pgregory.net/rapid"

	"holdfast/vault"
	"holdfast/vault/check"
)

// extent is one chunk's place in an image.
type extent struct {
	backup, image string
	offset        int64
}

// restorePart writes what can be read of an image, and tells the chunks that cannot.
func restorePart(ctx context.Context, v *vault.Vault, id, image string) ([]byte, map[int64]bool, error) {
	m, err := v.Manifest(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	im, _ := m.Image(image)
	r, err := v.OpenImage(ctx, im)
	if err != nil {
		return nil, nil, err
	}
	out, lost := newMemDisk(im.Size), map[int64]bool{}
	return out.data, lost, r.Restore(ctx, out, vault.RestoreOptions{Damaged: func(d *vault.DamagedError) error {
		for off := d.Offset; off < d.Offset+d.Length; off += testChunk {
			lost[off] = true
		}
		return nil
	}})
}

// sameBut compares a disk with the model, but for lost chunks, which read as zeros.
func sameBut(rt *rapid.T, id string, got, want []byte, lost map[int64]bool) {
	if len(got) != len(want) {
		rt.Fatalf("backup %s: %d bytes instead of %d", id, len(got), len(want))
	}
	for off := 0; off < len(want); off += testChunk {
		end := min(off+testChunk, len(want))
		if !lost[int64(off)] && string(got[off:end]) != string(want[off:end]) {
			rt.Fatalf("backup %s: wrong bytes at %d", id, off)
		}
	}
}

// prove compares all backups with the model, by a vault opened anew, and with
// what check says: restore and check name the same chunks, and all else is whole.
func (h *history) prove(rt *rapid.T) {
	h.reopen(rt)
	report, err := check.Run(h.t.Context(), h.v, check.Options{ReadData: true, Expect: h.ids(), Mark: h.r.IntN(2) == 0})
	if err != nil {
		rt.Fatal(err)
	}
	if !h.hurt && (!report.OK || report.Backups != len(h.model)) {
		rt.Fatalf("check of a whole vault with %d backups: %+v", len(h.model), report)
	}
	said, closed := map[extent]bool{}, map[string]bool{}
	for _, d := range report.Damages {
		if h.model[d.Backup] == nil {
			rt.Fatalf("damage of what is no backup: %+v", d)
		}
		if d.Image == "" {
			closed[d.Backup] = true
		}
		for off := d.Offset; off < d.Offset+d.Length; off += testChunk {
			said[extent{d.Backup, d.Image, off}] = true
		}
	}
	all := map[extent]bool{}
	for id, disks := range h.model {
		for d, want := range disks {
			got, lost, err := restorePart(h.t.Context(), h.v, id, imageName(d))
			if (err != nil) != closed[id] || err != nil && !vault.IsDamage(err) && !errors.Is(err, vault.ErrNoBackup) {
				rt.Fatalf("backup %s: restore says %v, check %+v", id, err, report.Damages)
			}
			if err != nil {
				continue
			}
			sameBut(rt, id, got, want, lost)
			for off := range lost {
				all[extent{id, imageName(d), off}] = true
			}
		}
	}
	for e := range all {
		if !said[e] {
			rt.Fatalf("check does not name %+v: %+v", e, report.Damages)
		}
	}
	for e := range said {
		if e.image != "" && !all[e] {
			rt.Fatalf("check names %+v, which can be read: %+v", e, report.Damages)
		}
	}
	if !h.torn {
		h.alike(rt, all)
	}
}

// alike: a chunk that is lost is lost to every backup that holds it, and nothing
// else is. For damage in packs of data, whose trees are whole.
func (h *history) alike(rt *rapid.T, lost map[extent]bool) {
	at := func(e extent, disks [][]byte) string {
		for d, disk := range disks {
			if imageName(d) == e.image {
				return string(disk[e.offset:min(e.offset+testChunk, int64(len(disk)))])
			}
		}
		rt.Fatalf("no %+v", e)
		return ""
	}
	content := map[string]bool{}
	for e := range lost {
		content[at(e, h.model[e.backup])] = true
	}
	for id, disks := range h.model {
		for d, disk := range disks {
			for off := int64(0); off < int64(len(disk)); off += testChunk {
				e := extent{id, imageName(d), off}
				if content[at(e, disks)] != lost[e] {
					rt.Fatalf("%+v is lost: %v, the same chunk elsewhere: %v", e, lost[e], !lost[e])
				}
			}
		}
	}
}
