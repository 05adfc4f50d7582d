package manifest_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"holdfast/vault/chunk"
	"holdfast/vault/manifest"
)

func sample() manifest.Manifest {
	return manifest.Manifest{
		Backup: "b1", Session: "s1", CreatedAt: time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC), Labels: map[string]string{"k": "v"},
		Images: []manifest.Image{
			{Name: "vda", Size: 1 << 30, Root: chunk.ID{1, 2}, Point: "p1", Chunks: 5, Read: 6, Changed: 7, Stored: 8},
			{Name: "vdb", Size: 5},
		},
		Stats: manifest.Stats{ReadBytes: 1, ChangedBytes: 2, UploadedBytes: 3},
	}
}

func TestRoundTrip(t *testing.T) {
	data, err := manifest.Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	got, err := manifest.Decode(data)
	if err != nil || !reflect.DeepEqual(got, sample()) {
		t.Fatalf("%+v, %v", got, err)
	}
	// A later version may add fields; it may not change the format's number.
	if _, err := manifest.Decode([]byte(strings.Replace(string(data), "{", `{"later":1,`, 1))); err != nil {
		t.Errorf("an added field: %v", err)
	}
	if _, err := manifest.Decode([]byte(strings.Replace(string(data), `"format":1`, `"format":2`, 1))); !errors.Is(err, manifest.ErrMalformed) {
		t.Errorf("a later format: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	for name, change := range map[string]func(*manifest.Manifest){
		"no id":         func(m *manifest.Manifest) { m.Backup = "" },
		"no session":    func(m *manifest.Manifest) { m.Session = "" },
		"no name":       func(m *manifest.Manifest) { m.Images[0].Name = "" },
		"same name":     func(m *manifest.Manifest) { m.Images[1].Name = "vda" },
		"no size":       func(m *manifest.Manifest) { m.Images[0].Size = 0 },
		"huge":          func(m *manifest.Manifest) { m.Images[0].Size = manifest.MaxDisk + 1 },
		"negative":      func(m *manifest.Manifest) { m.Images[0].Size = -1 },
		"root, no data": func(m *manifest.Manifest) { m.Images[0].Chunks = 0 },
		"data, no root": func(m *manifest.Manifest) { m.Images[1].Chunks = 1 },
		"long label":    func(m *manifest.Manifest) { m.Labels["k"] = strings.Repeat("x", 5000) },
		"long point":    func(m *manifest.Manifest) { m.Images[0].Point = strings.Repeat("x", 5000) },
	} {
		m := sample()
		change(&m)
		if _, err := manifest.Encode(m); !errors.Is(err, manifest.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := manifest.Decode(make([]byte, manifest.MaxSize+1)); !errors.Is(err, manifest.ErrMalformed) {
		t.Errorf("huge: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	data, err := manifest.Encode(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"format":1}`))
	f.Add([]byte(`{"format":1,"backup":"b","session":"s","images":[{"name":"a","size":1125899906842624},{"name":"\ud800","size":1,"chunks":1,"root":"` + strings.Repeat("0a", 32) + `"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := manifest.Decode(data)
		if err != nil {
			return
		}
		for _, im := range m.Images {
			if im.Size <= 0 || im.Size > manifest.MaxDisk {
				t.Errorf("a disk of %d bytes", im.Size)
			}
		}
		written, err := manifest.Encode(m)
		if errors.Is(err, manifest.ErrMalformed) && len(data) > manifest.MaxSize/8 {
			return // escaped, it is too long
		}
		if err != nil {
			t.Fatalf("read, and cannot be written: %v", err)
		}
		again, err := manifest.Decode(written)
		if err != nil {
			t.Fatalf("written, and cannot be read: %v", err)
		}
		if m.CreatedAt = m.CreatedAt.UTC(); !m.CreatedAt.Equal(again.CreatedAt) {
			t.Errorf("at %v, then at %v", m.CreatedAt, again.CreatedAt)
		}
		m.CreatedAt, again.CreatedAt = time.Time{}, time.Time{}
		if len(m.Labels) == 0 {
			m.Labels = nil // absent and empty are the same
		}
		if !reflect.DeepEqual(m, again) {
			t.Errorf("%+v, then %+v", m, again)
		}
	})
}
