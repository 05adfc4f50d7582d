// Package strict reads JSON objects that come from outside and says everything
// that is wrong with them at once, each fault at its JSON Pointer.
//
// It is stricter than encoding/json: names are case-sensitive, unknown and
// duplicate ones are refused, and so is anything behind the object. An absent
// or empty input is the empty object; null for an optional field counts as
// absent.
package strict

import (
	"bytes"
	"errors"
	"io"
	"reflect"

	"github.com/go-json-experiment/json/jsontext"

	"holdfast"
)

// maxFaults bounds the answer to a hostile body of many unknown names, and
// maxName the part of it that is sent back.
const (
	maxFaults = 32
	maxName   = 128
)

// Object reads data into the struct that v points to. Fields that are neither
// pointers nor slices and have no omitzero option are required. The fields that
// are in order are set even when others are not. The result is nil when all is
// well; every fault has the code missing_required, unknown_field or
// invalid_value.
func Object(data []byte, v any) []holdfast.Field {
	r := &reader{}
	if len(bytes.TrimSpace(data)) == 0 {
		data = []byte("{}")
	}
	if raw, ok := r.document(data); ok {
		r.object(raw, "", reflect.ValueOf(v).Elem())
	}
	return r.faults
}

type reader struct{ faults []holdfast.Field }

func (r *reader) fault(at jsontext.Pointer, code holdfast.Code, detail string) {
	if len(r.faults) < maxFaults {
		r.faults = append(r.faults, holdfast.Field{Pointer: string(at), Detail: detail, Code: code})
	}
}

// document checks the syntax of the whole input: exactly one JSON value.
func (r *reader) document(data []byte) (jsontext.Value, bool) {
	dec := jsontext.NewDecoder(bytes.NewReader(data), jsontext.AllowDuplicateNames(true))
	raw, err := dec.ReadValue()
	if err == nil {
		raw = raw.Clone()
		if _, err = dec.ReadToken(); errors.Is(err, io.EOF) {
			return raw, true
		}
		r.fault("", holdfast.CodeInvalidValue, "There is something behind the JSON object.")
		return nil, false
	}
	at := jsontext.Pointer("")
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) && len(syntax.JSONPointer) <= maxName {
		at = syntax.JSONPointer
	}
	r.fault(at, holdfast.CodeInvalidValue, "The body is not valid JSON.")
	return nil, false
}

// object reads raw, whose syntax is known to be right, into the struct v.
func (r *reader) object(raw jsontext.Value, at jsontext.Pointer, v reflect.Value) {
	if raw.Kind() != '{' {
		r.fault(at, holdfast.CodeInvalidValue, "This must be a JSON object.")
		return
	}
	known := membersOf(v.Type())
	seen := map[string]bool{}
	for name, value := range r.membersIn(raw, at) {
		m, ok := known[name]
		if !ok {
			r.unknown(at, name)
			continue
		}
		if value.Kind() == 'n' {
			continue // absent
		}
		seen[name] = true
		r.value(value, at.AppendToken(name), v.FieldByIndex(m.index))
	}
	for _, m := range orderedMembers(v.Type()) {
		if known[m.name].required && !seen[m.name] {
			r.fault(at.AppendToken(m.name), holdfast.CodeMissingRequired, "`"+m.name+"` is required.")
		}
	}
}

func (r *reader) unknown(at jsontext.Pointer, name string) {
	if len(name) > maxName {
		r.fault(at, holdfast.CodeUnknownField, "There is no field of such a long name.")
		return
	}
	r.fault(at.AppendToken(name), holdfast.CodeUnknownField, "There is no field `"+name+"` here.")
}
