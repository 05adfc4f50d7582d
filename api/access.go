package api

import (
	"holdfast"
)

// access is who may use a route. It is a required argument of registration, and
// its zero value lets nobody in: a route cannot be open by omission.
type access struct {
	kind   accessKind
	scopes []holdfast.Scope
}

type accessKind int

const (
	accessNobody accessKind = iota
	accessAnyone
	accessKey      // any key of an account; the command decides by the resource
	accessScopes   // a key of an account that has all of the scopes
	accessOperator // an operator key
)

var (
	anyone    = access{kind: accessAnyone}
	anyKey    = access{kind: accessKey}
	operators = access{kind: accessOperator}
)

// scopes requires all of the scopes that it names.
func scopes(s ...holdfast.Scope) access { return access{kind: accessScopes, scopes: s} }

// admit says whether the exchange may go on: 401, then 403.
func (a access) admit(x *exchange) error {
	switch a.kind {
	case accessAnyone:
		return nil
	case accessOperator:
		if x.caller != nil {
			return holdfast.E(holdfast.CodeForbidden, "This is the operator's door: no API key of an account opens it, whatever its scopes.")
		}
		return x.denied
	case accessKey, accessScopes:
		if x.operator != nil {
			return holdfast.E(holdfast.CodeForbidden, "An operator key belongs to no account. Use an API key of the account.")
		}
		if x.denied != nil {
			return x.denied
		}
		return holdfast.ScopeGate(x.caller.Scopes, a.scopes...).Err()
	}
	return holdfast.E(holdfast.CodeForbidden, "Nobody may use this route.")
}
