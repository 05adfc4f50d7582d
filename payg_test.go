package holdfast

import (
	"errors"
	"slices"
	"testing"
)

func TestPaygSize(t *testing.T) {
	n := func(i int) *int { return &i }
	for _, c := range []struct {
		name       string
		req        PaygRequest
		cores, mem int
		need       int64
		want       CloudResources
		code       Code
		pointers   []string
	}{
		{"mirrors the source", PaygRequest{}, 2, 4096, 80 * GiB, CloudResources{2, 4, 80, 1}, "", nil},
		{"raised to the minimum", PaygRequest{}, 0, 256, GiB / 4, CloudResources{1, 1, 50, 1}, "", nil},
		{"clamped to the maximum", PaygRequest{}, 64, 512 << 10, 60 * GiB, CloudResources{32, 256, 60, 1}, "", nil},
		{"a byte more is a GiB more", PaygRequest{}, 1, 1024, 60*GiB + 1, CloudResources{1, 1, 61, 1}, "", nil},
		{"asked for", PaygRequest{CPUCores: n(3), MemoryGb: n(5), StorageGb: n(99)}, 1, 1024, 80 * GiB, CloudResources{3, 5, 99, 1}, "", nil},
		{"too small for the backup", PaygRequest{StorageGb: n(79)}, 1, 1024, 80 * GiB, CloudResources{}, CodeStorageTooSmall, []string{"/storageGb"}},
		{"too small for the backup and for sale", PaygRequest{StorageGb: n(1)}, 1, 1024, 2 * GiB, CloudResources{}, CodeStorageTooSmall, []string{"/storageGb"}},
		{"too small for sale only", PaygRequest{StorageGb: n(49)}, 1, 1024, 2 * GiB, CloudResources{}, CodeInvalidRequest, []string{"/storageGb"}},
		{"every wrong field", PaygRequest{CPUCores: n(0), MemoryGb: n(257), StorageGb: n(49)}, 1, 1024, GiB, CloudResources{}, CodeInvalidRequest, []string{"/cpuCores", "/memoryGb", "/storageGb"}},
		{"larger than is sold", PaygRequest{}, 1, 1024, 2001 * GiB, CloudResources{}, CodeStorageLimitExceeded, nil},
	} {
		got, err := DefaultPaygRange.Size(c.req, c.cores, c.mem, c.need)
		if got != c.want || CodeOf(err) != c.code {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
		var pointers []string
		if e, ok := errors.AsType[*Error](err); ok {
			for _, f := range e.Fields {
				pointers = append(pointers, f.Pointer)
			}
		}
		if !slices.Equal(pointers, c.pointers) {
			t.Errorf("%s: pointers %v", c.name, pointers)
		}
	}
}

func TestBlockers(t *testing.T) {
	f := CloudFacts{UnpaidInvoice: true, Limits: CloudResources{4, 4, 100, 1}}
	if got := f.AccessBlockers(); !slices.Equal(got, []Code{CodeUnpaidInvoice, CodeNoCard, CodeNotVerified, CodeNoCloudAccess}) {
		t.Errorf("access: %v", got)
	}
	if got := f.LimitBlockers(CloudResources{3, 4, 50, 1}, CloudResources{1, 1, 50, 1}); !slices.Equal(got, []Code{CodeMemoryLimitExceeded, CodeInstanceLimitExceeded}) {
		t.Errorf("limits: %v", got)
	}
	for code := range blockerReasons {
		if g := BlockerGate([]Code{code}); g.Reason == "" || CodeOf(g.Err()) != code {
			t.Errorf("%s: %+v", code, g)
		}
	}
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{"restore-web-01": true, "abc": true, "ab": false, "-abc": false, "abc-": false, "a b": false, "a.b": false, "åäö": false} {
		if (CheckName(name) == nil) != ok {
			t.Errorf("%q: %v", name, !ok)
		}
	}
}
