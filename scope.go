package holdfast

import (
	"slices"
	"strings"
)

// Scope is a permission of a credential.
type Scope string

// The scopes of the wire.
const (
	ScopeReadVM       Scope = "read:vm"
	ScopeWriteVM      Scope = "write:vm"
	ScopeBackupVM     Scope = "backup:vm"
	ScopePowerVM      Scope = "power:vm"
	ScopeReadBilling  Scope = "read:billing"
	ScopeWriteBilling Scope = "write:billing"
	ScopeReadAccount  Scope = "read:account"
	ScopeWriteAccount Scope = "write:account"
	ScopeAuditRead    Scope = "audit:read"
	ScopeReadAll      Scope = "read:all"
	ScopeWriteAll     Scope = "write:all"
)

var allScopes = []Scope{
	ScopeReadVM, ScopeWriteVM, ScopeBackupVM, ScopePowerVM, ScopeReadBilling, ScopeWriteBilling,
	ScopeReadAccount, ScopeWriteAccount, ScopeAuditRead, ScopeReadAll, ScopeWriteAll,
}

// AllScopes lists every scope.
func AllScopes() []Scope { return slices.Clone(allScopes) }

// Scopes are what a credential holds.
type Scopes []Scope

// ParseScopes reads scopes separated by spaces or commas; an unknown one is an
// error that names it.
func ParseScopes(s string) (Scopes, error) {
	var out Scopes
	for _, f := range strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' }) {
		if !slices.Contains(allScopes, Scope(f)) {
			return nil, E(CodeInvalidRequest, "There is no scope \""+f+"\".")
		}
		if !slices.Contains(out, Scope(f)) {
			out = append(out, Scope(f))
		}
	}
	return out, nil
}

// Has says whether the scopes cover all of want: read:all covers every read:*,
// write:all covers every scope.
func (s Scopes) Has(want ...Scope) bool {
	for _, w := range want {
		if !slices.Contains(s, w) && !slices.Contains(s, ScopeWriteAll) &&
			(!strings.HasPrefix(string(w), "read:") || !slices.Contains(s, ScopeReadAll)) {
			return false
		}
	}
	return true
}

// String joins the scopes by spaces, as ParseScopes reads them.
func (s Scopes) String() string {
	parts := make([]string, len(s))
	for i, x := range s {
		parts[i] = string(x)
	}
	return strings.Join(parts, " ")
}
