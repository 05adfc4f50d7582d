package holdfast

import (
	"slices"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"
)

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

// Ids and scopes come from anyone: what is taken is in the one form that there is.
func FuzzParseID(f *testing.F) {
	f.Add(NewID[VPSID]().String())
	f.Add("vps_01aryz6s41tsv4rrffq69g5fav")
	f.Add("vps_81aryz6s41tsv4rrffq69g5fav")
	f.Add("read:vm, write:all")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseID[VPSID](s); err == nil {
			parsed, err := ulid.ParseStrict(strings.ToUpper(id.ULID()))
			if err != nil || "vps_"+strings.ToLower(parsed.String()) != s {
				t.Errorf("%q was taken (%v)", s, err)
			}
		}
		if scopes, err := ParseScopes(s); err == nil {
			again, err := ParseScopes(scopes.String())
			if err != nil || !slices.Equal(scopes, again) || len(scopes) > len(AllScopes()) {
				t.Errorf("%q was taken as %v, then %v (%v)", s, scopes, again, err)
			}
		}
	})
}
