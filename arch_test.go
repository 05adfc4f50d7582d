package holdfast_test

import (
	"bytes"
	"errors"
	"go/build"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "holdfast"

// layers is the direction of imports: which packages of ours a package may
// import, outside its tests. Direct imports suffice, because every package is
// in the table. The first row that matches a package holds.
//
// In a pattern "." is the root package and "x/..." is x and all below it.
var layers = []struct {
	of, may, reason string
}{
	{".", "", "the nouns need nothing but themselves, so that every layer can speak in them"},
	{"vault/...", "vault/...", "the vault opens without the service: it knows bytes and manifests, never VPSs, SQL or HTTP"},
	{"disk/...", "disk/...", "a disk is read the same way whoever asks for it"},
	{"compute/...", "compute/... disk/... internal/fault", "a driver knows machines and disks, never who owns them"},
	{"operation/...", ". internal/fault", "the runner is used on hosts, which have no database"},
	{"store/...", ". store/...", "queries carry no rules: those are in the nouns and in control"},
	{"control/...", ". control/... operation store", "the control plane writes rows and operations; it never touches data, and is called, not called back"},
	{"backup/...", ". backup/... machine operation vault/... disk disk/partition compute internal/fault", "the data plane uses the seams; cmd chooses the drivers; it has no database"},
	{"machine/...", ". machine/... operation vault disk compute", "as backup: steps over the seams, without a database"},
	{"api/...", ". api/... control", "a route decodes, calls control and encodes; the data plane is out of its reach"},
	{"cmd/...", "...", "all wiring is here"},
	{"internal/...", "internal/... compute/... disk/... vault/... test/guest/...", "plumbing serves the layers and their tests, and never the service's rules"},
	{"test/compat/reader", "", "it shows that FORMAT.md suffices, so it may use none of the code that the document is about"},
	{"test/...", "...", "tests and their tools see everything"},
}

// outside says which packages may import what is not ours; tests are free.
var outside = []struct {
	what, only, reason string
}{
	{"database/sql github.com/jackc/pgx/v5/... github.com/uptrace/bun/... github.com/pressly/goose/v3/... modernc.org/sqlite/...", "store/... internal/testpg", "the database is behind store's queries, so that they stay portable"},
	{"net/http github.com/danielgtaylor/huma/v2/...", "api/... cmd/... test/... vault/blob/s3", "only the edges speak HTTP"},
	{"github.com/minio/...", "vault/blob/s3", "one package knows S3"},
	{"github.com/spf13/cobra github.com/knadh/koanf/... github.com/vbauerster/mpb/v8/...", "cmd/...", "flags, configuration and progress bars belong to the command"},
	{"testing", "test/... internal/vmtest internal/testpg", "the product carries no test code; packages named …test are suites for their neighbours"},
}

// vague names say nothing about what a package does, and collect everything.
var vague = []string{"util", "utils", "common", "models", "manager", "helpers", "misc", "base", "types"}

const (
	rootLines        = 2000 // the root stays a page of nouns, not a framework
	internalPackages = 5    // more than this is a second product hiding under internal/
)

type pkg struct {
	importPath string

	*build.Package
}

// path of the package below the module, "." for the root.
func (p pkg) path() string { return below(p.importPath) }

func below(importPath string) string {
	if importPath == module {
		return "."
	}
	return strings.TrimPrefix(importPath, module+"/")
}

func ours(importPath string) bool {
	return importPath == module || strings.HasPrefix(importPath, module+"/")
}

// suite: a conformance suite, a package for its neighbours' tests.
func (p pkg) suite() bool { return strings.HasSuffix(path.Base(p.importPath), "test") }

// matches reports whether one of the patterns matches the path.
func matches(patterns, name string) bool {
	for pattern := range strings.FieldsSeq(patterns) {
		tree, all := strings.CutSuffix(pattern, "...")
		tree = strings.TrimSuffix(tree, "/")
		if name == tree || all && (tree == "" || strings.HasPrefix(name, tree+"/")) {
			return true
		}
	}
	return false
}

// packages reads the tree itself, not through the go command: so the test
// cache sees which files the result depends on.
func packages(t *testing.T) []pkg {
	t.Helper()
	every := build.Default
	every.BuildTags = []string{"vm", "faults"}
	var all []pkg
	err := filepath.WalkDir(".", func(dir string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if name := entry.Name(); dir != "." && (strings.ContainsAny(name[:1], "._") || name == "testdata" || dir == "build") {
			return fs.SkipDir
		}
		found, err := every.ImportDir(dir, 0)
		if _, none := errors.AsType[*build.NoGoError](err); none {
			return nil
		}
		if err != nil {
			return err
		}
		all = append(all, pkg{path.Join(module, filepath.ToSlash(dir)), found})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestArchitecture(t *testing.T) {
	all := packages(t)
	for _, p := range all {
		for _, violation := range violations(p) {
			t.Errorf("%s %s", p.importPath, violation)
		}
	}
	var plumbing []string
	for _, p := range all {
		if strings.HasPrefix(p.path(), "internal/") {
			plumbing = append(plumbing, p.path())
		}
	}
	if len(plumbing) > internalPackages {
		t.Errorf("%d packages under internal/, at most %d: %v", len(plumbing), internalPackages, plumbing)
	}
}

// violations of one package, each with the reason for its rule.
func violations(p pkg) []string {
	found := layerViolations(p)
	found = append(found, outsideViolations(p)...)
	if p.path() == "." {
		for _, imported := range p.Imports {
			if strings.Contains(imported, ".") && imported != "github.com/oklog/ulid/v2" {
				found = append(found, "imports "+imported+": the root needs the standard library and ulid only")
			}
		}
	}
	if slices.Contains(vague, path.Base(p.importPath)) || slices.Contains(vague, p.Name) {
		found = append(found, "has a name that says nothing: name it for what it does or what it uses")
	}
	if p.Doc == "" && len(p.GoFiles) > 0 {
		found = append(found, "has no package comment: one sentence, so that go doc reads as a map")
	}
	return found
}

func layerViolations(p pkg) []string {
	for _, layer := range layers {
		if !matches(layer.of, p.path()) {
			continue
		}
		var found []string
		for _, imported := range p.Imports {
			if ours(imported) && !matches(layer.may, below(imported)) {
				found = append(found, "imports "+imported+": "+layer.reason)
			}
		}
		return append(found, testImportViolations(p, layer.of, layer.may)...)
	}
	return []string{"is in no layer: add a row with its direction and the reason"}
}

// testImportViolations holds the layers that stand alone to it in their tests
// too; the tests of all others may wire what they need.
func testImportViolations(p pkg, of, may string) []string {
	if !slices.Contains([]string{".", "vault/...", "disk/...", "compute/..."}, of) {
		return nil
	}
	may += " " + of + " internal/... test/..."
	var found []string
	for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
		if ours(imported) && !matches(may, below(imported)) {
			found = append(found, "imports "+imported+" in its tests: this layer stands alone")
		}
	}
	return found
}

func outsideViolations(p pkg) []string {
	if p.suite() {
		return nil
	}
	var found []string
	for _, rule := range outside {
		for _, imported := range p.Imports {
			if matches(rule.what, imported) && !matches(rule.only, p.path()) {
				found = append(found, "imports "+imported+": "+rule.reason)
			}
		}
	}
	for _, imported := range p.Imports {
		if ours(imported) && (pkg{importPath: imported}).suite() && !matches("test/... internal/...", p.path()) {
			found = append(found, "imports the suite "+imported+": the product carries no test code")
		}
	}
	return found
}

// The independent reader is what anyone could write from FORMAT.md with a
// standard library, zstd and BLAKE3; a command, which nothing can import.
func TestReaderStandsAlone(t *testing.T) {
	for _, p := range packages(t) {
		if p.path() != "test/compat/reader" {
			continue
		}
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if ours(imported) || strings.Contains(imported, ".") && !matches("github.com/klauspost/compress/zstd github.com/zeebo/blake3", imported) {
				t.Errorf("%s imports %s", p.importPath, imported)
			}
		}
		if !p.IsCommand() {
			t.Errorf("%s is package %s: a command is imported by nothing", p.importPath, p.Name)
		}
		return
	}
	t.Error("the independent reader is gone")
}

func TestRootStaysSmall(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines += bytes.Count(source, []byte("\n"))
	}
	if lines > rootLines {
		t.Errorf("the root package has %d lines, at most %d: move what is not a noun to where it is used", lines, rootLines)
	}
}

// TestViolationsAreFound keeps the table honest: each rule refuses what it is for.
func TestViolationsAreFound(t *testing.T) {
	pkgs := map[string]pkg{
		"the wrong way":          {"holdfast/vault/blob", &build.Package{Doc: "x", Imports: []string{"holdfast"}}},
		"around control":         {"holdfast/api", &build.Package{Doc: "x", Imports: []string{"holdfast/backup"}}},
		"a concrete driver":      {"holdfast/backup", &build.Package{Doc: "x", Imports: []string{"holdfast/compute/qemu"}}},
		"wrong way in a test":    {"holdfast/disk/nbd", &build.Package{Doc: "x", TestImports: []string{"holdfast/compute"}}},
		"a layer nobody knows":   {"holdfast/extra", &build.Package{Doc: "x"}},
		"a library in the root":  {"holdfast", &build.Package{Doc: "x", Imports: []string{"github.com/spf13/pflag"}}},
		"SQL in the vault":       {"holdfast/vault", &build.Package{Doc: "x", Imports: []string{"database/sql"}}},
		"HTTP in control":        {"holdfast/control", &build.Package{Doc: "x", Imports: []string{"net/http"}}},
		"a suite in the product": {"holdfast/compute/qemu", &build.Package{Doc: "x", Imports: []string{"holdfast/compute/computetest"}}},
		"testing in the product": {"holdfast/store", &build.Package{Doc: "x", Imports: []string{"testing"}}},
		"a vague name":           {"holdfast/control/util", &build.Package{Doc: "x"}},
		"no package comment":     {"holdfast/control", &build.Package{GoFiles: []string{"x.go"}}},
	}
	for name, p := range pkgs {
		if found := violations(p); len(found) != 1 {
			t.Errorf("%s: got %d violations %q, want 1", name, len(found), found)
		}
	}
	good := pkg{"holdfast/control", &build.Package{Doc: "x", Imports: []string{"holdfast", "holdfast/store", "fmt"}, TestImports: []string{"holdfast/api"}}}
	if found := violations(good); len(found) != 0 {
		t.Errorf("a package in order: %q", found)
	}
}
