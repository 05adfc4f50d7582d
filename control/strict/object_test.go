package strict

import (
	"fmt"
	"strings"
	"testing"

	"holdfast"
)

type sample struct {
	Name   string   `json:"name"`
	Note   *string  `json:"note"`
	Count  *int     `json:"count"`
	Limit  int      `json:"limit,omitzero"`
	Nested *nested  `json:"nested"`
	Items  []nested `json:"items"`
	Words  []string `json:"words"`
}

type nested struct {
	Yes bool `json:"yes"`
}

func TestObject(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing", "", "/name:missing_required"},
		{"white space", " \r\n\t", "/name:missing_required"},
		{"empty", "{}", "/name:missing_required"},
		{"all", `{"name":"n","note":"x","count":3,"limit":4,"nested":{"yes":true},"items":[{"yes":false}],"words":["a"]}`, ""},
		{"null is absent", `{"name":"n","note":null,"count":null,"limit":null,"nested":null,"items":null}`, ""},
		{"null of a required one", `{"name":null}`, "/name:missing_required"},
		{"case", `{"Name":"n"}`, "/Name:unknown_field /name:missing_required"},
		{"unknown beside wrong", `{"a/b~c":1,"name":5,"count":"x"}`, "/a~1b~0c:unknown_field /name:invalid_value /count:invalid_value"},
		{"duplicate", `{"name":"n","name":"m"}`, "/name:invalid_value"},
		{"duplicate within", `{"name":"n","nested":{"yes":true,"yes":false}}`, "/nested/yes:invalid_value"},
		{"nested", `{"name":"n","nested":{"no":1}}`, "/nested/no:unknown_field /nested/yes:missing_required"},
		{"list", `{"name":"n","items":[{"yes":true},{"yes":1},3]}`, "/items/1/yes:invalid_value /items/2:invalid_value"},
		{"null in a list", `{"name":"n","words":["a",null]}`, "/words/1:invalid_value"},
		{"not a list", `{"name":"n","items":{}}`, "/items:invalid_value"},
		{"fraction", `{"name":"n","count":1.5}`, "/count:invalid_value"},
		{"too large", `{"name":"n","count":99999999999999999999}`, "/count:invalid_value"},
		{"number as string", `{"name":"n","count":"3"}`, "/count:invalid_value"},
		{"NUL", `{"name":"a\u0000b"}`, "/name:invalid_value"},
		{"bad UTF-8", "{\"name\":\"\xff\"}", "/name:invalid_value"},
		{"lone surrogate", `{"name":"\ud800"}`, "/name:invalid_value"},
		{"list at the top", `[]`, ":invalid_value"},
		{"null at the top", `null`, ":invalid_value"},
		{"behind", `{"name":"n"}{}`, ":invalid_value"},
		{"rubbish behind", `{"name":"n"} x`, ":invalid_value"},
		{"cut off", `{"name":"n"`, ":invalid_value"},
		{"comment", `{"name":"n"/**/}`, ":invalid_value"},
		{"trailing comma", `{"name":"n",}`, ":invalid_value"},
		{"not JSON", `name=n`, ":invalid_value"},
		{"very deep", strings.Repeat("[", 100_000), ":invalid_value"},
		{"long name", `{"name":"n","` + strings.Repeat("x", 200) + `":1}`, ":unknown_field"},
	} {
		var v sample
		if got := text(Object([]byte(c.in), &v)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestObjectSetsWhatIsRight(t *testing.T) {
	var v sample
	Object([]byte(`{"name":"n","note":7,"count":3,"words":["a","b"],"bogus":1}`), &v)
	if v.Name != "n" || v.Note != nil || v.Count == nil || *v.Count != 3 || len(v.Words) != 2 {
		t.Errorf("%+v", v)
	}
}

func TestFaultsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("{")
	for i := range 10_000 {
		fmt.Fprintf(&b, `"x%d":1,`, i)
	}
	b.WriteString(`"name":"n"}`)
	var v sample
	if n := len(Object([]byte(b.String()), &v)); n != maxFaults {
		t.Errorf("%d faults told", n)
	}
}

func FuzzObject(f *testing.F) {
	for _, s := range []string{"", "{}", `{"name":"n"}`, `{"name":1,"items":[{}]}`, "[", "\xff", `{"":{"":[null]}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v sample
		for _, fault := range Object(data, &v) {
			if fault.Code == "" || fault.Detail == "" || (fault.Pointer != "" && fault.Pointer[0] != '/') {
				t.Fatalf("%+v", fault)
			}
		}
	})
}

func text(faults []holdfast.Field) string {
	var out []string
	for _, f := range faults {
		out = append(out, f.Pointer+":"+string(f.Code))
	}
	return strings.Join(out, " ")
}
