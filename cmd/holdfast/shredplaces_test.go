package main

import (
	"os"
	"strings"
	"testing"
)

// An account's keys go at both places; while one does not answer, the certificate
// names it and is not complete, whatever it is called with.
func TestShredAtTwoPlaces(t *testing.T) {
	w := newTwice(t)
	id := w.account.ID
	shred := []string{"admin", "account", "shred", id, "--confirm", id}
	w.away(t, func() {
		if said := w.fails(t, 6, shred...); !strings.Contains(said, "Complete:   NOT YET") || !strings.Contains(said, "from "+w.other+": NOT YET") ||
			!strings.Contains(said, "the keys/ blobs at "+w.other) || !strings.Contains(said, "run the same command again") {
			t.Errorf("said: %s", said)
		}
		if c := shredded(t, w.Run(t, "admin", "account", "certificate", id, "--json")); c.CompletedAt != nil || len(c.Places) != 2 || c.Places[0].At == nil || c.Places[1].At != nil {
			t.Errorf("certificate: %+v", c)
		}
	})
	if len(keysAt(t, w.vault)) != 0 || len(keysAt(t, w.other)) != 2 {
		t.Errorf("keys: %v, %v", keysAt(t, w.vault), keysAt(t, w.other))
	}
	// A place is not done with by being taken out of the configuration.
	if said := refused(t, 6, append(shred, "--data", w.Dir)...); !strings.Contains(said, "Complete:   NOT YET") || !strings.Contains(said, "not in the configuration any more") {
		t.Errorf("said: %s", said)
	}
	// Nor is the directory of one whose mount is empty.
	aside := w.other + ".aside"
	if err := os.Rename(w.other, aside); err != nil {
		t.Fatal(err)
	}
	if said := w.fails(t, 6, shred...); !strings.Contains(said, "from "+w.other+": NOT YET") {
		t.Errorf("said: %s", said)
	}
	if err := os.Rename(aside, w.other); err != nil {
		t.Fatal(err)
	}

	c := shredded(t, w.Run(t, append(shred, "--json")...))
	if c.CompletedAt == nil || len(c.Places) != 2 || len(keysAt(t, w.other)) != 0 {
		t.Errorf("certificate: %+v", c)
	}
	for i, dir := range []string{w.vault, w.other} {
		if p := c.Places[i]; p.Place != dir || p.Removed != 2 || p.At == nil || p.Error != "" {
			t.Errorf("%s: %+v", dir, p)
		}
	}
	for _, r := range c.Remaining {
		if strings.Contains(r.What, w.other) {
			t.Errorf("it is said to be left: %+v", r)
		}
	}
}
