package holdfast

import "time"

// Account is a customer: the owner of VPSs, backups, keys and one key ring.
type Account struct {
	ID        AccountID
	Name      string
	CreatedAt time.Time
	Active    bool
	Cloud     CloudFacts
	// BackupSlots is how many backups each of the account's VPSs may have;
	// negative: no limit.
	BackupSlots int
	// WrappedKey is the account's key, wrapped by the master key; empty once it
	// was destroyed.
	WrappedKey []byte
	// NextWrappedKey is what a rotation puts in its place when it ends: the same key
	// wrapped by a new master key, or a new key. Empty: no rotation is under way.
	NextWrappedKey []byte
	// RingEpoch is how far the data keys of the account's key ring have come at
	// least; 0: not known.
	RingEpoch uint32
	// ShreddedAt is when the account's key was destroyed; zero: it was not.
	ShreddedAt time.Time
}

// KitIssue is the record of a recovery kit that was printed.
type KitIssue struct {
	Number      int // 1 is the account's first
	IssuedAt    time.Time
	Fingerprint string // of the account key in it
}

// CloudFacts are what decides whether an account may use Cloud VMs. The
// operator sets them; nothing else does.
type CloudFacts struct {
	Verified      bool
	CardOnFile    bool
	CloudAccess   bool
	UnpaidInvoice bool
	Limits        CloudResources // sums over all Cloud VMs of the account
}

// CloudResources are resources of Cloud VMs.
type CloudResources struct {
	CPUCores  int
	MemoryGb  int // GiB
	StorageGb int // GiB
	Instances int
}

// Add is the sum of two sets of resources.
func (r CloudResources) Add(x CloudResources) CloudResources {
	return CloudResources{r.CPUCores + x.CPUCores, r.MemoryGb + x.MemoryGb, r.StorageGb + x.StorageGb, r.Instances + x.Instances}
}

// AccessBlockers are the reasons, known before any size is chosen, why the
// account may not use Cloud VMs; the order is that in which they are told.
func (f CloudFacts) AccessBlockers() []Code {
	var out []Code
	for _, b := range []struct {
		blocked bool
		code    Code
	}{
		{f.UnpaidInvoice, CodeUnpaidInvoice}, {!f.CardOnFile, CodeNoCard},
		{!f.Verified, CodeNotVerified}, {!f.CloudAccess, CodeNoCloudAccess},
	} {
		if b.blocked {
			out = append(out, b.code)
		}
	}
	return out
}

// LimitBlockers are the limits that used and want together would pass.
func (f CloudFacts) LimitBlockers(used, want CloudResources) []Code {
	sum := used.Add(want)
	var out []Code
	for _, b := range []struct {
		have, limit int
		code        Code
	}{
		{sum.CPUCores, f.Limits.CPUCores, CodeCPULimitExceeded},
		{sum.MemoryGb, f.Limits.MemoryGb, CodeMemoryLimitExceeded},
		{sum.StorageGb, f.Limits.StorageGb, CodeStorageLimitExceeded},
		{sum.Instances, f.Limits.Instances, CodeInstanceLimitExceeded},
	} {
		if b.have > b.limit {
			out = append(out, b.code)
		}
	}
	return out
}
