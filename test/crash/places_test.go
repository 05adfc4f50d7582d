package crash

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"holdfast"
)

// elsewhere are the places that no scenario of this package passes, by the
// beginning of their names, with the test that dies there.
var elsewhere = map[string]string{
	"qemu.begin.throttled":    "compute/qemu: TestThrottle",
	"qemu.generation.dropped": "compute/qemu: TestCutGenerationAnywhere",
}

func diedElsewhere(place string) bool {
	for beginning := range elsewhere {
		if strings.HasPrefix(place, beginning) {
			return true
		}
	}
	return false
}

// root of the checkout.
const root = "../.."

// sources calls f with every file of the program itself.
func sources(t *testing.T, f func(*ast.File)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "test" || d.Name() == "build" || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err == nil {
			f(file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// everyPlace fails the test for a place in the code that no operation has
// passed: nobody would be killed there.
func everyPlace(t *testing.T, passed map[string]bool) {
	t.Helper()
	found := 0
	sources(t, func(file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 1 {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || method.Sel.Name != "at" && method.Sel.Name != "At" {
				return true
			}
			word, ok := call.Args[0].(*ast.BasicLit)
			if !ok || word.Kind != token.STRING {
				return true
			}
			place, err := strconv.Unquote(word.Value)
			if err != nil {
				t.Fatal(err)
			}
			found++
			if !passed[place] && !diedElsewhere(place) {
				t.Errorf("no scenario comes to the place %s", place)
			}
			return true
		})
	})
	if found < 10 {
		t.Errorf("only %d places are found in the code: the search is broken", found)
	}
}

// TestEveryKindIsKilled: a new kind of operation needs a scenario.
func TestEveryKindIsKilled(t *testing.T) {
	var kinds []holdfast.Kind
	sources(t, func(file *ast.File) {
		if file.Name.Name != "holdfast" {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Names) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Kind") || len(spec.Values) != 1 {
				return true
			}
			if word, ok := spec.Values[0].(*ast.BasicLit); ok {
				kind, err := strconv.Unquote(word.Value)
				if err != nil {
					t.Fatal(err)
				}
				kinds = append(kinds, holdfast.Kind(kind))
			}
			return true
		})
	})
	if len(kinds) < 10 {
		t.Errorf("only %v are found in the code: the search is broken", kinds)
	}
	for _, k := range kinds {
		if !slices.ContainsFunc(scenarios, func(s scenario) bool { return s.kind == k }) {
			t.Errorf("nobody is killed during operations of the kind %s: add a scenario", k)
		}
	}
}
