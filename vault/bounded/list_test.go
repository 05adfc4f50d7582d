package bounded_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"holdfast/vault/bounded"
)

var errRefused = errors.New("refused")

func below(limit int) func(int) error {
	return func(n int) error {
		if n >= limit {
			return errRefused
		}
		return nil
	}
}

func TestList(t *testing.T) {
	for in, want := range map[string][]int{"null": nil, "[]": nil, "[1,2]": {1, 2}, "[ 3 ]": {3}} {
		if got, err := bounded.List([]byte(in), 3, below(9)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	for in, want := range map[string]error{"[1,2,3,4]": bounded.ErrTooMany, "[1,9,{}]": errRefused, `["x"]`: nil, "{}": nil, "[1": nil, "": nil, "5": nil} {
		if got, err := bounded.List([]byte(in), 3, below(9)); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
}

// A list of millions of nothings costs what is allowed of it, not what it has.
func TestListOfNothings(t *testing.T) {
	in := []byte("[" + strings.Repeat("{},", 1<<20) + "{}]")
	type fat struct{ _ [64]int64 }
	n := testing.AllocsPerRun(1, func() {
		if _, err := bounded.List(in, 100, func(fat) error { return nil }); !errors.Is(err, bounded.ErrTooMany) {
			t.Fatal(err)
		}
	})
	if n > 5000 {
		t.Errorf("%v allocations", n)
	}
}

// A list is read as encoding/json reads it.
func FuzzList(f *testing.F) {
	for _, s := range []string{"null", "[]", "[1,2,3]", `[1,"x"]`, "[1,,2]", "[[]]", "[1]x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			return // a caller is called by encoding/json, for what is valid
		}
		var want []int
		bad := json.Unmarshal(data, &want)
		got, err := bounded.List(data, 1000, below(1<<62))
		if err == nil && (bad != nil || !slices.Equal(got, want)) {
			t.Errorf("%s: %v, want %v (%v)", data, got, want, bad)
		}
		if err != nil && bad == nil && len(want) <= 1000 && !slices.ContainsFunc(want, func(n int) bool { return n >= 1<<62 }) {
			t.Errorf("%s: %v", data, err)
		}
	})
}
