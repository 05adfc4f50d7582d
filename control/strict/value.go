package strict

import (
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"holdfast"
)

// value reads one value that is not null into v.
func (r *reader) value(raw jsontext.Value, at jsontext.Pointer, v reflect.Value) {
	switch {
	case raw.Kind() == 'n': // within a list: object skips its null members
		r.fault(at, holdfast.CodeInvalidValue, "This must not be null.")
	case v.Kind() == reflect.Pointer:
		target := reflect.New(v.Type().Elem())
		before := len(r.faults)
		r.value(raw, at, target.Elem())
		if len(r.faults) == before {
			v.Set(target)
		}
	case v.Kind() == reflect.Struct:
		r.object(raw, at, v)
	case v.Kind() == reflect.Slice && v.Type() != reflect.TypeFor[jsontext.Value]():
		r.list(raw, at, v)
	default:
		target := reflect.New(v.Type())
		if err := json.Unmarshal(raw, target.Interface()); err != nil {
			r.fault(at, holdfast.CodeInvalidValue, "This must be "+wanted(v.Kind())+".")
			return
		}
		// PostgreSQL has no text with a NUL in it, and no field needs one.
		if v.Kind() == reflect.String && strings.ContainsRune(target.Elem().String(), 0) {
			r.fault(at, holdfast.CodeInvalidValue, "This must not contain a NUL character.")
			return
		}
		v.Set(target.Elem())
	}
}

func (r *reader) list(raw jsontext.Value, at jsontext.Pointer, v reflect.Value) {
	var items []jsontext.Value
	if err := json.Unmarshal(raw, &items); err != nil {
		r.fault(at, holdfast.CodeInvalidValue, "This must be a list.")
		return
	}
	out := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		r.value(item, at.AppendToken(strconv.Itoa(i)), out.Index(i))
	}
	v.Set(out)
}

func wanted(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number in range"
	case reflect.Float64:
		return "a number"
	}
	return "of another form"
}
