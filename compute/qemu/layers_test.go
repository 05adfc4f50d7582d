package qemu

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"holdfast/compute"
)

// The list decides which files a hypervisor opens.
func TestLayerListRefusals(t *testing.T) {
	d := newDriver(t)
	m := machine(mib)
	define(t, d, m, false)
	for why, list := range map[string]string{
		"no list":          `{`,
		"a path":           `[{"name":"../../x","disks":["disk0"]}]`,
		"a name too short": `[{"name":"0123abc","disks":["disk0"]}]`,
		"a name twice":     `[{"name":"0123abcd","disks":["disk0"]},{"name":"0123abcd","disks":["disk0"]}]`,
		"of no disk":       `[{"name":"0123abcd"}]`,
		"too many":         "[" + strings.Repeat(`{"name":"0123abcd","disks":["disk0"]},`, maxLayers) + `{"name":"0123abcd","disks":["disk0"]}]`,
	} {
		if err := os.WriteFile(d.file(m.ID, current+"/"+layerList), []byte(list), 0o600); err != nil {
			t.Fatal(err)
		}
		if l, err := d.layers(m.ID, current); err == nil {
			t.Errorf("%s: %+v", why, l)
		}
		if err := d.Start(t.Context(), m.ID); err == nil {
			t.Errorf("%s: it starts", why)
		}
	}
	if err := os.Remove(d.file(m.ID, current+"/"+layerList)); err != nil {
		t.Fatal(err)
	}
}

func TestLayersOfADisk(t *testing.T) {
	d := newDriver(t)
	l := layers{
		{Name: "00000001", Disks: []string{"disk0"}, Snapshot: &compute.Snapshot{ID: "a"}},
		{Name: "00000002", Disks: []string{"disk0", "disk1"}},
		{Name: "00000003", Disks: []string{"disk0"}, Snapshot: &compute.Snapshot{ID: "b"}, Pending: &process{}},
	}
	var opened []string
	for _, disk := range []string{"disk0", "disk1", "disk2"} {
		for _, node := range d.stack("m", "gen-1", disk, l, false) {
			opened = append(opened, fmt.Sprint(node["node-name"], " over ", node["backing"], " ", node["read-only"]))
		}
	}
	if want := []string{
		"d-disk0 over <nil> true", "d-disk0.00000001 over d-disk0 true", "d-disk0.00000002 over d-disk0.00000001 true",
		"d-disk0.00000003 over d-disk0.00000002 false",
		"d-disk1 over <nil> true", "d-disk1.00000002 over d-disk1 false",
		"d-disk2 over <nil> false",
	}; !slices.Equal(opened, want) {
		t.Errorf("got %q, want %q", opened, want)
	}
	if have := l.snapshots(); len(have) != 1 || have[0].ID != "a" || l.above("b") != -1 || l.above("a") != 0 {
		t.Errorf("%+v", have)
	}
	// QEMU's names of nodes have at most 31 characters.
	longest := layer{Name: "0123abcd"}
	if n := len(longest.node(strings.Repeat("x", 16))); n > 31 {
		t.Errorf("a node's name of %d characters", n)
	}
}

// A guest that has taken its hypervisor over makes bitmaps up.
func TestGoOn(t *testing.T) {
	names, dead := goOn("n", bitmaps("a b! c? d/e UPPER "+strings.Repeat("x", 65)))
	if !slices.Equal(names, []string{"hf-a"}) || acts(dead) != "remove c" {
		t.Errorf("%q, %s", names, acts(dead))
	}
	if names, _ := goOn("n", bitmaps(strings.Repeat("a ", 1000))); len(names) > maxTracks {
		t.Errorf("%d go on", len(names))
	}
}

func TestFoldWithoutSpace(t *testing.T) {
	for said, want := range map[string]bool{"No space left on device": true, "Disk quota exceeded": true, "Input/output error": false} {
		if err := (fold{ID: "x", Error: said}).err(); errors.Is(err, compute.ErrNoSpace) != want || !strings.Contains(err.Error(), said) {
			t.Errorf("%s: %v", said, err)
		}
	}
}
