package holdfast

import "testing"

func TestIDs(t *testing.T) {
	id := NewID[VPSID]()
	if got, err := ParseID[VPSID](string(id)); err != nil || got != id {
		t.Fatalf("ParseID(%q) = %q, %v", id, got, err)
	}
	if got, err := ParseID[VPSID]("vps_01hxa3b4c5d6e7f8g9h0j1k2m3"); err != nil || got.ULID() != "01hxa3b4c5d6e7f8g9h0j1k2m3" {
		t.Fatalf("the documented sample: %q, %v", got, err)
	}
	for _, bad := range []string{
		"", "vps_", "bkp_01hxa3b4c5d6e7f8g9h0j1k2m3", "vps_01HXA3B4C5D6E7F8G9H0J1K2M3",
		"vps_01hxa3b4c5d6e7f8g9h0j1k2m", "vps_01hxa3b4c5d6e7f8g9h0j1k2m34",
		"vps_01hxa3b4c5d6e7f8g9h0j1k2u3", "vps_81hxa3b4c5d6e7f8g9h0j1k2m3", "vps_../../../../etc/passwd/aaa",
	} {
		if _, err := ParseID[VPSID](bad); err == nil {
			t.Errorf("ParseID accepted %q", bad)
		}
	}
}
