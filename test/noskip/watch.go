package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// event is one line of go test -json; see go doc test2json.
type event struct {
	Action  string  `json:"Action"`
	Package string  `json:"Package"`
	Test    string  `json:"Test"`
	Output  string  `json:"Output"`
	Elapsed float64 `json:"Elapsed"` // seconds
}

type test struct{ pkg, name string }

// watch follows one run of go test.
type watch struct {
	out     io.Writer
	verbose bool

	ran     int
	failed  bool
	skipped []test
	output  map[test]*strings.Builder
}

// read shows the run and says what is wrong with it, if anything.
func (w *watch) read(r io.Reader) error {
	w.output = make(map[test]*strings.Builder)
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			w.line(line)
		}
		if errors.Is(err, io.EOF) {
			return w.verdict()
		}
		if err != nil {
			return err
		}
	}
}

// line takes one line; what is not an event is shown as it is.
func (w *watch) line(line []byte) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil || e.Action == "" {
		w.print(string(line))
		return
	}
	switch e.Action {
	case "output", "build-output":
		w.collect(e)
	case "pass", "fail", "skip":
		w.end(e)
	case "build-fail":
		w.failed = true
	}
}

// collect keeps a test's output until its end, and shows a package's at once.
func (w *watch) collect(e event) {
	if e.Test == "" {
		if e.Output != "PASS\n" && !strings.HasSuffix(e.Output, "[no test files]\n") {
			w.print(e.Output)
		}
		return
	}
	key := test{e.Package, e.Test}
	if w.output[key] == nil {
		w.output[key] = new(strings.Builder)
	}
	w.output[key].WriteString(e.Output)
}

func (w *watch) end(e event) {
	key := test{e.Package, e.Test}
	output := w.output[key]
	delete(w.output, key)
	switch {
	case e.Action == "fail":
		w.failed = true
	case e.Test == "": // a package without tests is said to be skipped
		return
	case e.Action == "skip":
		w.skipped = append(w.skipped, key)
	default:
		w.ran++
		if w.verbose && !strings.Contains(e.Test, "/") {
			w.print(fmt.Sprintf("--- PASS: %s (%.2fs)\n", e.Test, e.Elapsed))
		}
		return
	}
	if output != nil {
		w.print(output.String())
	}
}

func (w *watch) verdict() error {
	// A test that was cut off has no end, and its output says why.
	for key, output := range w.output {
		w.failed = true
		w.print(fmt.Sprintf("--- CUT OFF: %s %s\n%s", key.pkg, key.name, output))
	}
	for _, s := range w.skipped {
		w.print(fmt.Sprintf("SKIPPED\t%s %s\n", s.pkg, s.name))
	}
	switch {
	case w.failed:
		return errors.New("not all tests passed")
	case len(w.skipped) > 0:
		return fmt.Errorf("%d tests were skipped; a missing tool must be a failure", len(w.skipped))
	case w.ran == 0:
		return errors.New("no test ran")
	}
	return nil
}

func (w *watch) print(s string) { _, _ = io.WriteString(w.out, s) }
