package main

import (
	"strings"
	"testing"
)

func TestWatch(t *testing.T) {
	const (
		output = `{"Action":"output","Package":"p","Test":"TestA","Output":"reason\n"}` + "\n"
		pass   = `{"Action":"pass","Package":"p","Test":"TestA","Elapsed":1}` + "\n"
		fail   = `{"Action":"fail","Package":"p","Test":"TestA"}` + "\n"
		skip   = `{"Action":"skip","Package":"p","Test":"TestA"}` + "\n"
		closed = `{"Action":"output","Package":"p","Output":"ok  \tp\t1.0s\n"}` + "\n" + `{"Action":"pass","Package":"p"}` + "\n"
		empty  = `{"Action":"output","Package":"q","Output":"?   \tq\t[no test files]\n"}` + "\n" + `{"Action":"skip","Package":"q"}` + "\n"
		broken = `{"ImportPath":"p","Action":"build-output","Output":"x.go:1: bad\n"}` + "\n" + `{"ImportPath":"p","Action":"build-fail"}` + "\n"
	)
	cases := []struct{ name, in, out, err string }{
		{"passed", output + pass + closed, "ok  \tp\t1.0s\n", ""},
		{"passed beside a package without tests", pass + closed + empty, "ok  \tp\t1.0s\n", ""},
		{"failed", output + fail + closed, "reason\nok  \tp\t1.0s\n", "not all tests passed"},
		{"skipped", output + skip + closed, "reason\nok  \tp\t1.0s\nSKIPPED\tp TestA\n", "1 tests were skipped; a missing tool must be a failure"},
		{"did not build", broken, "x.go:1: bad\n", "not all tests passed"},
		{"cut off", output, "--- CUT OFF: p TestA\nreason\n", "not all tests passed"},
		{"nothing ran", empty, "", "no test ran"},
		{"not JSON", "panic: x\n" + pass, "panic: x\n", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			err := (&watch{out: &out}).read(strings.NewReader(c.in))
			if got := message(err); got != c.err {
				t.Errorf("error %q, want %q", got, c.err)
			}
			if out.String() != c.out {
				t.Errorf("output %q, want %q", out.String(), c.out)
			}
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
