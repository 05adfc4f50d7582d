package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"holdfast"
)

// codes are all codes that error.go declares.
func codes(t *testing.T) []holdfast.Code {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "..", "error.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []holdfast.Code
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Code") {
			return true
		}
		lit, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			t.Fatalf("%s is no literal", spec.Names[0].Name)
		}
		text, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, holdfast.Code(text))
		return true
	})
	if len(out) < 40 {
		t.Fatalf("only %d codes were found", len(out))
	}
	return out
}

func TestEveryCodeHasAnExitStatus(t *testing.T) {
	all := codes(t)
	for _, c := range all {
		if _, ok := exitStatuses[c]; !ok {
			t.Errorf("%s has no exit status", c)
		}
	}
	if len(all) != len(exitStatuses) {
		t.Errorf("%d codes, and exit statuses for %d", len(all), len(exitStatuses))
	}
}

func TestExitStatus(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("boom"), 1},
		{context.Canceled, 1},
		{holdfast.E("never_heard_of", "?"), 1},
		{holdfast.E(holdfast.CodeInvalidRequest, "?"), 2},
		{fmt.Errorf("wrapped: %w", holdfast.E(holdfast.CodeVPSNotFound, "?")), 3},
		{holdfast.E(holdfast.CodeForbidden, "?"), 4},
		{holdfast.E(holdfast.CodeBackupDamaged, "?"), 5},
		{holdfast.E(holdfast.CodeHostUnavailable, "?"), 6},
	} {
		if got := exitStatus(c.err); got != c.want {
			t.Errorf("%v: %d instead of %d", c.err, got, c.want)
		}
	}
}
