package strict

import (
	"bytes"
	"iter"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"holdfast"
)

// member is a field of a struct as JSON knows it.
type member struct {
	name     string
	index    []int
	required bool
}

func membersOf(t reflect.Type) map[string]member {
	out := map[string]member{}
	for _, m := range orderedMembers(t) {
		out[m.name] = m
	}
	return out
}

// orderedMembers are the fields of t that JSON knows, in their order.
func orderedMembers(t reflect.Type) []member {
	var out []member
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		if name == "" {
			name = f.Name
		}
		kind := f.Type.Kind()
		optional := kind == reflect.Pointer || kind == reflect.Slice || kind == reflect.Map || strings.Contains(options, "omit")
		out = append(out, member{name, f.Index, !optional})
	}
	return out
}

// membersIn yields the members of an object whose syntax is known to be right;
// of a name that occurs twice only the first, and the second is a fault.
func (r *reader) membersIn(raw jsontext.Value, at jsontext.Pointer) iter.Seq2[string, jsontext.Value] {
	return func(yield func(string, jsontext.Value) bool) {
		dec := jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true))
		if _, err := dec.ReadToken(); err != nil {
			return
		}
		seen := map[string]bool{}
		for dec.PeekKind() == '"' {
			name, err := dec.ReadToken()
			if err != nil {
				return
			}
			key := name.String()
			value, err := dec.ReadValue()
			if err != nil {
				return
			}
			if seen[key] {
				r.duplicate(at, key)
				continue
			}
			seen[key] = true
			if !yield(key, value.Clone()) {
				return
			}
		}
	}
}

func (r *reader) duplicate(at jsontext.Pointer, name string) {
	if len(name) <= maxName {
		at = at.AppendToken(name)
	}
	r.fault(at, holdfast.CodeInvalidValue, "This name occurs twice.")
}
