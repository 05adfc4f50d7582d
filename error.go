package holdfast

import (
	"errors"
	"strings"
)

// Code is the stable, machine-readable name of what went wrong. It is the
// `code` of a problem on the wire; clients branch on it.
type Code string

// The codes of the wire.
const (
	CodeInvalidRequest       Code = "invalid_request"
	CodeInvalidCursor        Code = "invalid_cursor"
	CodeStorageTooSmall      Code = "storage_too_small"
	CodeRegionUnknown        Code = "region_unknown"
	CodeUnauthorized         Code = "unauthorized"
	CodeForbidden            Code = "forbidden"
	CodeAccountInactive      Code = "account_inactive"
	CodeNotFound             Code = "not_found"
	CodeVPSNotFound          Code = "vps_not_found"
	CodeBackupNotFound       Code = "backup_not_found"
	CodeJobNotFound          Code = "job_not_found"
	CodeJobNotCancellable    Code = "job_not_cancellable"
	CodeMethodNotAllowed     Code = "method_not_allowed"
	CodeVPSNotReady          Code = "vps_not_ready"
	CodeServiceSuspended     Code = "service_suspended"
	CodeServiceTerminated    Code = "service_terminated"
	CodePendingOrder         Code = "pending_order"
	CodeBackupQuotaExceeded  Code = "backup_quota_exceeded"
	CodeOperationInProgress  Code = "operation_in_progress"
	CodeBackupProtected      Code = "backup_protected"
	CodeBackupLocked         Code = "backup_locked"
	CodeBackupNotRestorable  Code = "backup_not_restorable"
	CodeNoBackups            Code = "no_backups" // a gate's code only
	CodeIdempotencyKeyReused Code = "idempotency_key_reused"
	CodeVPSStateChanged      Code = "vps_state_changed"
	CodeSameVPS              Code = "same_vps"
	CodeNothingToUndo        Code = "nothing_to_undo"
	CodeSnapshotNotFound     Code = "snapshot_not_found"
	CodeScheduleNotFound     Code = "schedule_not_found"
	CodeSnapshotExists       Code = "snapshot_exists"
	CodeSnapshotLimitReached Code = "snapshot_limit_reached"
	CodeSnapshotsUnavailable Code = "snapshots_unavailable"
	CodeCancelled            Code = "cancelled"
	CodeBodyTooLarge         Code = "body_too_large"
	CodeUnsupportedMediaType Code = "unsupported_media_type"
	CodeRateLimited          Code = "rate_limited"
	CodeInternal             Code = "internal_error"
	CodeRegionCapacity       Code = "region_capacity_exhausted"
	CodeHostUnavailable      Code = "host_unavailable"
	CodeUpstreamUnavailable  Code = "upstream_unavailable"
	// Codes that end an operation for want of space.
	CodeSiteFull         Code = "site_full"         // the place of the vault
	CodeHostDiskFull     Code = "host_disk_full"    // the place of the VPS's disks
	CodeScratchExhausted Code = "scratch_exhausted" // the copy-before-write area
	CodeDatabaseFull     Code = "database_full"     // the service's own database
	// CodeBackupDamaged ends a restore whose backup does not verify.
	CodeBackupDamaged Code = "backup_damaged"
	// Reasons why an account may not use Cloud VMs.
	CodeUnpaidInvoice         Code = "has_unpaid_invoice"
	CodeNoCard                Code = "no_card_on_file"
	CodeNotVerified           Code = "not_verified"
	CodeNoCloudAccess         Code = "no_cloud_access"
	CodeCPULimitExceeded      Code = "cpu_limit_exceeded"
	CodeMemoryLimitExceeded   Code = "memory_limit_exceeded"
	CodeStorageLimitExceeded  Code = "storage_limit_exceeded"
	CodeInstanceLimitExceeded Code = "instance_limit_exceeded"
	// CodeMissingRequired and the like are codes of a single field.
	CodeMissingRequired Code = "missing_required"
	CodeUnknownField    Code = "unknown_field"
	CodeInvalidValue    Code = "invalid_value"
)

// Field is what is wrong with one field of a request.
type Field struct {
	Pointer string `json:"pointer"` // an RFC 6901 JSON Pointer
	Detail  string `json:"detail"`
	Code    Code   `json:"code"`
}

// Error is a failure that a user may be told about. Msg is written for the
// user and is sent; Err is the cause: it is logged and never sent.
type Error struct {
	Code Code
	// Op is where it happened, for the log: "control.CreateBackup".
	Op string
	// Msg says what went wrong and how to get out of it.
	Msg    string
	Fields []Field
	// Extensions are further members that the code calls for, such as the job
	// that is in the way.
	Extensions map[string]any
	Err        error
}

// E makes an Error without a cause.
func E(code Code, msg string) *Error { return &Error{Code: code, Msg: msg} }

// Wrap makes an Error around its cause.
func Wrap(code Code, op, msg string, cause error) *Error {
	return &Error{Code: code, Op: op, Msg: msg, Err: cause}
}

// InvalidField is a 400 about one field of the body.
func InvalidField(code Code, pointer, detail string) *Error {
	return &Error{Code: code, Msg: detail, Fields: []Field{{Pointer: pointer, Detail: detail, Code: code}}}
}

// Error is for the log: it holds the cause.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op + ": ")
	}
	b.WriteString(string(e.Code) + ": " + e.Msg)
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf is the code of the first Error in err's chain, CodeInternal for any
// other failure and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}
