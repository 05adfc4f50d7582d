package fault

import (
	"errors"

	"holdfast/vault/blob"
)

// ErrInjected is the error of a Failure.
var ErrInjected = errors.New("injected")

// Failure is a way in which the calls of a storage fail.
type Failure struct {
	Name string
	// Arm makes a call fail, counted from 1.
	Arm func(st *Storage, call int)
}

// Failures are the ways in which each call of whatever is done in a storage has to
// be tried, in turn: it must leave the old state or the new.
var Failures = []Failure{
	{"error", func(st *Storage, call int) {
		st.AddFault(Any).FromCall(call).ErrorInstead(ErrInjected)
	}},
	{"full", func(st *Storage, call int) {
		st.AddFault(Put).FromCall(call).Forever().ErrorInstead(blob.ErrNoSpace)
	}},
	{"lost answer", func(st *Storage, call int) {
		st.AddFault(Any).FromCall(call).ErrorAfter(ErrInjected)
	}},
	{"crash before", func(st *Storage, call int) {
		st.AddFault(Any).FromCall(call).Forever().ErrorInstead(ErrInjected)
	}},
	{"crash after", func(st *Storage, call int) {
		st.AddFault(Any).FromCall(call).ErrorAfter(ErrInjected)
		st.AddFault(Any).FromCall(call + 1).Forever().ErrorInstead(ErrInjected)
	}},
}

// Spoilt is the Failure of a site that changes what it gives back.
var Spoilt = Failure{"wrong bytes", func(st *Storage, call int) {
	for _, op := range []Op{Get, Read} {
		st.AddFault(op).FromCall(call).Change(func(p []byte) []byte {
			if len(p) > 0 {
				p[len(p)/2] ^= 4
			}
			return p
		})
	}
}}
