package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A place that missed rotations, as one that was not configured meanwhile or was
// brought back from an image, is brought to the present keys by the next copy, or by
// the next rotation; one that nothing opens any more is said by name.
func TestPlaceThatMissedRotations(t *testing.T) {
	w := newTwice(t)
	id := w.account.ID
	begin := keysAt(t, w.other)
	w.rotate(t, "rotate-data", "--account", id)
	putKeys(t, w.other, begin)
	w.copied(t)
	w.alike(t, 2)

	w.rotate(t, "rotate-account", "--account", id)
	putKeys(t, w.other, begin)
	w.copied(t)
	w.alike(t, 2)
	putKeys(t, w.other, begin)
	for want := range 2 { // what was missed is ended before another one begins
		if r := w.rotate(t, "rotate-data", "--account", id); int(r.Epoch) != 2+want || r.Resumed != (want == 0) {
			t.Errorf("data key: %+v", r)
		}
	}
	w.rotate(t, "rotate-account", "--account", id) // which leaves no account blob of before
	w.alike(t, 3)

	// The first place follows a rotation, too, but nothing is taken from there.
	third := keysAt(t, w.vault)
	putKeys(t, w.vault, begin)
	w.rotate(t, "rotate-account", "--account", id)
	w.alike(t, 3)
	putKeys(t, w.vault, begin)
	putKeys(t, w.other, begin)
	if said := w.fails(t, 5, "key", "rotate-data", "--account", id); !strings.Contains(said, w.vault) {
		t.Errorf("said: %s", said)
	}
	putKeys(t, w.vault, third) // of another account key by now
	if said := w.fails(t, 5, "key", "rotate-data", "--account", id); !strings.Contains(said, w.vault) {
		t.Errorf("said: %s", said)
	}
}

// What missed a rotation of the master key and of the account's opens with nothing.
func TestPlaceThatMissedTheMasterKey(t *testing.T) {
	w := newTwice(t)
	begin := keysAt(t, w.other)
	fresh := filepath.Join(w.Dir, "fresh.key")
	w.Alone(t, "key", "create-master", fresh)
	w.rotate(t, "rotate-master", "--new-key", fresh)
	w.Stop(t)
	if err := os.Rename(fresh, filepath.Join(w.Dir, "master.key")); err != nil {
		t.Fatal(err)
	}
	w.Start(t)
	w.rotate(t, "rotate-master", "--finish")
	putKeys(t, w.other, begin)
	w.copied(t)
	w.alike(t, 1)
	w.rotate(t, "rotate-account", "--account", w.account.ID)
	putKeys(t, w.other, begin)
	b := lies(t, w.Service, backupOf(t, w.Service, w.account, w.vps), "damaged")
	if !strings.Contains(b.Copies[0].Error, w.other) {
		t.Errorf("said: %s", b.Copies[0].Error)
	}
	if len(keysAt(t, w.other)) != len(begin) {
		t.Error("the place was changed")
	}
}
