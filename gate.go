package holdfast

// Gate says, on a resource, whether an action on it would be accepted now. The
// route of the action asks the same gate, so they never disagree.
type Gate struct {
	Allowed bool
	Code    Code
	Reason  string
	// Extensions of the problem that the call would get.
	Extensions map[string]any
}

// Open is the gate that lets everything through.
var Open = Gate{Allowed: true}

// Shut is a gate that names its reason and, in the same sentence or the next,
// the way out.
func Shut(code Code, reason string) Gate { return Gate{Code: code, Reason: reason} }

// First is the first shut gate, or Open.
func First(gates ...Gate) Gate {
	for _, g := range gates {
		if !g.Allowed {
			return g
		}
	}
	return Open
}

// Err is the problem that a call through the gate gets; nil when it is open.
func (g Gate) Err() error {
	if g.Allowed {
		return nil
	}
	return &Error{Code: g.Code, Msg: g.Reason, Extensions: g.Extensions}
}

// ScopeGate is shut when a scope is missing.
func ScopeGate(have Scopes, want ...Scope) Gate {
	for _, w := range want {
		if !have.Has(w) {
			return Shut(CodeForbidden, "This needs the scope \""+string(w)+"\", which the API key does not have. Use a key that has it.")
		}
	}
	return Open
}

// ServiceGate is shut unless the VPS is in service.
func ServiceGate(v VPS) Gate {
	switch v.Service {
	case ServiceActive:
		if v.Power == PowerProvisioning {
			return Shut(CodeVPSNotReady, "The VPS is still being provisioned. Wait until its job has completed.")
		}
		if v.Power == PowerError {
			return Shut(CodeVPSNotReady, "The VPS could not be provisioned. Delete it, or ask support.")
		}
		return Open
	case ServicePending:
		return Shut(CodePendingOrder, "The order of this VPS is still pending. Wait until it is active.")
	case ServiceSuspended:
		return Shut(CodeServiceSuspended, "The VPS is suspended. Settle what is open on the account, or ask support.")
	case ServiceTerminated:
		return Shut(CodeServiceTerminated, "The VPS has been terminated. Its backups can still be restored to a new Cloud VM.")
	}
	return Shut(CodeVPSNotReady, "The VPS is not in service.")
}

// ShreddedGate is shut when the account's key was destroyed.
func ShreddedGate(a Account) Gate {
	if a.ShreddedAt.IsZero() {
		return Open
	}
	return Shut(CodeAccountInactive, "The keys of this account were destroyed, and its backups with them: none can be made or restored any more. Ask support for another account.")
}

// HostGate is shut when the VPS's host does not answer.
func HostGate(available bool) Gate {
	if available {
		return Open
	}
	return Shut(CodeHostUnavailable, "The host of this VPS does not answer at the moment. Try again later.")
}

// QuotaGate is shut when all backup slots are used.
func QuotaGate(q Quota) Gate {
	if left, limited := q.Remaining(); limited && left == 0 {
		return Shut(CodeBackupQuotaExceeded, "All backup slots of this VPS are used. Delete a backup first.")
	}
	return Open
}

// BusyGate is shut while an operation that excludes the action runs; nil: none.
// Whether that can be cancelled is in its extensions.
func BusyGate(running *Operation) Gate {
	if running == nil {
		return Open
	}
	g := Shut(CodeOperationInProgress, "Another operation is running on this VPS. Wait until job "+string(running.ID)+" has ended.")
	g.Extensions = map[string]any{
		"jobId": running.ID, "pollUrl": PollURL(running.ID), "type": running.Kind, "cancellable": running.Cancellable,
	}
	return g
}

// PollURL is where a job is polled.
func PollURL(id JobID) string { return "/api/jobs/" + string(id) }

// RestorableGate is shut when there is no backup to restore.
func RestorableGate(completed int) Gate {
	if completed == 0 {
		return Shut(CodeNoBackups, "This VPS has no completed backup to restore.")
	}
	return Open
}

// BlockerGate is shut by the first of the reasons why an account may not use
// Cloud VMs; the problem carries all of them.
func BlockerGate(blockers []Code) Gate {
	if len(blockers) == 0 {
		return Open
	}
	g := Shut(blockers[0], blockerReasons[blockers[0]])
	g.Extensions = map[string]any{"blockerReasons": blockers}
	return g
}

var blockerReasons = map[Code]string{
	CodeUnpaidInvoice:         "The account has an unpaid invoice. Pay it to use Cloud VMs.",
	CodeNoCard:                "The account has no card on file. Add one to use Cloud VMs.",
	CodeNotVerified:           "The account is not verified. Verify it to use Cloud VMs.",
	CodeNoCloudAccess:         "The account has no access to Cloud VMs. Ask support to enable it.",
	CodeCPULimitExceeded:      "The new Cloud VM would exceed the account's limit of CPU cores. Ask for fewer cores, delete a Cloud VM, or request a higher limit.",
	CodeMemoryLimitExceeded:   "The new Cloud VM would exceed the account's limit of memory. Ask for less memory, delete a Cloud VM, or request a higher limit.",
	CodeStorageLimitExceeded:  "The new Cloud VM would exceed the limit of storage. Delete a Cloud VM, or request a higher limit.",
	CodeInstanceLimitExceeded: "The new Cloud VM would exceed the account's limit of Cloud VMs. Delete one, or request a higher limit.",
}
