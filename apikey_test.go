package holdfast

import (
	"strings"
	"testing"
)

func TestSecret(t *testing.T) {
	s := NewSecret(APIKeyPrefix)
	if !WellFormedSecret(APIKeyPrefix, s) {
		t.Fatalf("a fresh secret is not well formed")
	}
	for i := range len(s) {
		if WellFormedSecret(APIKeyPrefix, s[:i]+"!"+s[i+1:]) {
			t.Errorf("accepted with character %d replaced", i)
		}
	}
	swapped := []byte(s)
	if swapped[5] == swapped[6] {
		swapped[6]++
	}
	swapped[5], swapped[6] = swapped[6], swapped[5]
	for _, bad := range []string{"", string(swapped), s + "0", s[:len(s)-1], strings.Replace(s, "hf_", "hfop_", 1)} {
		if WellFormedSecret(APIKeyPrefix, bad) {
			t.Errorf("accepted a malformed secret of length %d", len(bad))
		}
	}
	if HashSecret(s) == HashSecret(s+"x") || len(HashSecret(s)) != 64 {
		t.Error("HashSecret")
	}
}

func TestScopes(t *testing.T) {
	s, err := ParseScopes("read:vm, backup:vm read:vm")
	if err != nil || s.String() != "read:vm backup:vm" {
		t.Fatalf("%q %v", s, err)
	}
	if _, err := ParseScopes("read:vm admin"); CodeOf(err) != CodeInvalidRequest {
		t.Errorf("unknown scope: %v", err)
	}
	for _, c := range []struct {
		have string
		want []Scope
		ok   bool
	}{
		{"backup:vm", []Scope{ScopeBackupVM}, true},
		{"backup:vm", []Scope{ScopeBackupVM, ScopeWriteBilling}, false},
		{"read:all", []Scope{ScopeReadBilling, ScopeReadVM}, true},
		{"read:all", []Scope{ScopeAuditRead}, false},
		{"read:all", []Scope{ScopeBackupVM}, false},
		{"write:all", []Scope{ScopeBackupVM, ScopeAuditRead, ScopeReadVM}, true},
		{"", nil, true},
		{"", []Scope{ScopeReadVM}, false},
	} {
		have, err := ParseScopes(c.have)
		if err != nil || have.Has(c.want...) != c.ok {
			t.Errorf("%q has %v: %v, %v", c.have, c.want, !c.ok, err)
		}
	}
}
