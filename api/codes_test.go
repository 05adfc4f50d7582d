package api

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"holdfast"
)

// declaredCodes reads the codes from the source, so that one that is added
// there and forgotten here fails.
func declaredCodes(t *testing.T) []holdfast.Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []holdfast.Code
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "Code" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, holdfast.Code(text))
		}
		return true
	})
	if len(out) < 40 {
		t.Fatalf("only %d codes found in the source", len(out))
	}
	return out
}

func TestEveryCodeHasStatusAndTitle(t *testing.T) {
	declared := declaredCodes(t)
	for _, code := range declared {
		if r, ok := codes[code]; !ok || r.status < 400 || r.status > 599 || r.title == "" {
			t.Errorf("%s: %+v", code, r)
		}
	}
	if len(codes) != len(declared) {
		t.Errorf("%d codes in the table, %d declared", len(codes), len(declared))
	}
}

// TestStatusesOfTheContract are those that the contract fixes by name.
func TestStatusesOfTheContract(t *testing.T) {
	for status, list := range map[int][]holdfast.Code{
		400: {"invalid_request", "invalid_cursor", "storage_too_small", "region_unknown"},
		401: {"unauthorized"},
		403: {"forbidden", "account_inactive", "no_card_on_file", "not_verified", "no_cloud_access", "cpu_limit_exceeded",
			"memory_limit_exceeded", "storage_limit_exceeded", "instance_limit_exceeded"},
		404: {"not_found", "vps_not_found", "backup_not_found", "job_not_found", "snapshot_not_found", "schedule_not_found"},
		405: {"method_not_allowed"},
		409: {"vps_not_ready", "service_suspended", "service_terminated", "pending_order", "backup_quota_exceeded",
			"operation_in_progress", "backup_protected", "backup_not_restorable", "idempotency_key_reused", "has_unpaid_invoice",
			"snapshot_exists", "snapshot_limit_reached", "snapshots_unavailable"},
		413: {"body_too_large"},
		415: {"unsupported_media_type"},
		429: {"rate_limited"},
		500: {"internal_error"},
		503: {"region_capacity_exhausted", "host_unavailable", "upstream_unavailable"},
	} {
		for _, code := range list {
			if codes[code].status != status {
				t.Errorf("%s is %d, want %d", code, codes[code].status, status)
			}
		}
	}
}
