// Command noskip reads the output of go test -json, shows what matters of it
// and fails when a test failed, when a test was skipped, or when none ran.
//
//	go test -json ./... | noskip [-v]
//
// A skipped test looks like a passed one in a green run; what needs a tool
// must fail without it.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	verbose := flag.Bool("v", false, "show each test as it ends")
	flag.Parse()
	w := &watch{out: os.Stdout, verbose: *verbose}
	if err := w.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "noskip:", err)
		os.Exit(1)
	}
}
