package holdfast

import (
	"fmt"
	"strings"
)

// PaygRange is what sizes the product sells; both ends are included.
type PaygRange struct {
	MinCPUCores, MaxCPUCores   int
	MinMemoryGb, MaxMemoryGb   int
	MinStorageGb, MaxStorageGb int
}

// DefaultPaygRange is the published range.
var DefaultPaygRange = PaygRange{1, 32, 1, 256, 50, 2000}

// PaygRequest is what a caller asked for; nil fields were left open.
type PaygRequest struct {
	Name      *string
	Region    *string
	CPUCores  *int
	MemoryGb  *int
	StorageGb *int
}

// CheckName says what is wrong with a hostname label: 3 to 63 letters, digits
// and hyphens, no hyphen at either end (RFC 1123).
func CheckName(name string) error {
	bad := len(name) < 3 || len(name) > 63 || strings.HasPrefix(name, "-") || strings.HasSuffix(name, "-")
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' {
			bad = true
		}
	}
	if bad {
		return InvalidField(CodeInvalidValue, "/name", "The name must be a hostname label: 3 to 63 letters, digits and hyphens, beginning and ending with a letter or digit.")
	}
	return nil
}

// Size chooses the resources of a Cloud VM restored from a backup. Values left
// open mirror the source within the range; the account's limits never shrink
// them. neededBytes is the larger of the source's storage and the backup's
// size. All wrong fields are told at once.
func (r PaygRange) Size(req PaygRequest, sourceCores, sourceMemoryMiB int, neededBytes int64) (CloudResources, error) {
	out := CloudResources{
		CPUCores:  min(max(sourceCores, r.MinCPUCores), r.MaxCPUCores),
		MemoryGb:  min(max((sourceMemoryMiB+1023)/1024, r.MinMemoryGb), r.MaxMemoryGb),
		StorageGb: max(CeilGb(neededBytes), r.MinStorageGb),
		Instances: 1,
	}
	var fields []Field
	need := CeilGb(neededBytes)
	// Told by its own code, whatever the range begins with.
	small := req.StorageGb != nil && *req.StorageGb > 0 && *req.StorageGb < need
	for _, f := range []struct {
		name     string
		want     *int
		min, max int
		out      *int
	}{
		{"cpuCores", req.CPUCores, r.MinCPUCores, r.MaxCPUCores, &out.CPUCores},
		{"memoryGb", req.MemoryGb, r.MinMemoryGb, r.MaxMemoryGb, &out.MemoryGb},
		{"storageGb", req.StorageGb, r.MinStorageGb, r.MaxStorageGb, &out.StorageGb},
	} {
		if f.want == nil || f.out == &out.StorageGb && small {
			continue
		}
		if *f.want < f.min || *f.want > f.max {
			fields = append(fields, Field{"/" + f.name, fmt.Sprintf("%s must be from %d to %d.", f.name, f.min, f.max), CodeInvalidValue})
			continue
		}
		*f.out = *f.want
	}
	if small {
		told := Field{"/storageGb", fmt.Sprintf("storageGb must be at least %d, the larger of the source's storage and the backup's size.", need), CodeStorageTooSmall}
		if len(fields) == 0 {
			return CloudResources{}, InvalidField(told.Code, told.Pointer, told.Detail)
		}
		fields = append(fields, told)
	}
	if len(fields) > 0 {
		return CloudResources{}, &Error{Code: CodeInvalidRequest, Msg: "The request body failed validation.", Fields: fields}
	}
	if out.StorageGb > r.MaxStorageGb {
		return CloudResources{}, BlockerGate([]Code{CodeStorageLimitExceeded}).Err()
	}
	return out, nil
}
