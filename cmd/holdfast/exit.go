package main

import (
	"errors"
	"strings"

	"holdfast"
)

// Exit statuses; scripts branch on them.
const (
	exitOK        = 0
	exitFailed    = 1 // anything else
	exitUsage     = 2 // what was asked for is wrong
	exitNotFound  = 3
	exitRefused   = 4 // not allowed now: busy, quota, state
	exitDamaged   = 5 // a vault or backup does not verify
	exitNoService = 6 // the service or the host does not answer
)

var exitStatuses = map[holdfast.Code]int{
	holdfast.CodeInvalidRequest: exitUsage, holdfast.CodeStorageTooSmall: exitUsage, holdfast.CodeRegionUnknown: exitUsage,
	holdfast.CodeInvalidCursor: exitUsage, holdfast.CodeMissingRequired: exitUsage, holdfast.CodeUnknownField: exitUsage,
	holdfast.CodeInvalidValue: exitUsage, holdfast.CodeBodyTooLarge: exitUsage, holdfast.CodeUnsupportedMediaType: exitUsage,
	holdfast.CodeMethodNotAllowed: exitUsage,
	holdfast.CodeNotFound:         exitNotFound, holdfast.CodeVPSNotFound: exitNotFound,
	holdfast.CodeBackupNotFound: exitNotFound, holdfast.CodeJobNotFound: exitNotFound, holdfast.CodeNoBackups: exitNotFound,
	holdfast.CodeUnauthorized: exitRefused, holdfast.CodeForbidden: exitRefused, holdfast.CodeAccountInactive: exitRefused,
	holdfast.CodeVPSNotReady: exitRefused, holdfast.CodeServiceSuspended: exitRefused, holdfast.CodeServiceTerminated: exitRefused,
	holdfast.CodePendingOrder: exitRefused, holdfast.CodeBackupQuotaExceeded: exitRefused, holdfast.CodeOperationInProgress: exitRefused,
	holdfast.CodeBackupProtected: exitRefused, holdfast.CodeBackupLocked: exitRefused, holdfast.CodeBackupNotRestorable: exitRefused, holdfast.CodeIdempotencyKeyReused: exitRefused,
	holdfast.CodeVPSStateChanged: exitRefused, holdfast.CodeRateLimited: exitRefused,
	holdfast.CodeUnpaidInvoice: exitRefused, holdfast.CodeNoCard: exitRefused, holdfast.CodeNotVerified: exitRefused,
	holdfast.CodeNoCloudAccess: exitRefused, holdfast.CodeCPULimitExceeded: exitRefused, holdfast.CodeMemoryLimitExceeded: exitRefused,
	holdfast.CodeStorageLimitExceeded: exitRefused, holdfast.CodeInstanceLimitExceeded: exitRefused,
	holdfast.CodeBackupDamaged:  exitDamaged,
	holdfast.CodeRegionCapacity: exitNoService, holdfast.CodeHostUnavailable: exitNoService, holdfast.CodeUpstreamUnavailable: exitNoService,
	holdfast.CodeSnapshotNotFound: exitNotFound, holdfast.CodeScheduleNotFound: exitNotFound,
	holdfast.CodeSnapshotExists: exitRefused, holdfast.CodeSnapshotLimitReached: exitRefused, holdfast.CodeSnapshotsUnavailable: exitRefused,
	holdfast.CodeSameVPS: exitUsage, holdfast.CodeNothingToUndo: exitRefused,
	holdfast.CodeJobNotCancellable: exitRefused,
	holdfast.CodeCancelled:         exitFailed, holdfast.CodeInternal: exitFailed, holdfast.CodeSiteFull: exitFailed,
	holdfast.CodeHostDiskFull: exitFailed, holdfast.CodeScratchExhausted: exitFailed, holdfast.CodeDatabaseFull: exitFailed,
}

func exitStatus(err error) int {
	if err == nil {
		return exitOK
	}
	if s, ok := exitStatuses[holdfast.CodeOf(err)]; ok {
		return s
	}
	return exitFailed
}

// userMessage is what an operator at the terminal is told: here the cause is
// shown, for the operator is who must mend it.
func userMessage(err error) string {
	e, ok := errors.AsType[*holdfast.Error](err)
	if !ok {
		return err.Error()
	}
	var msg strings.Builder
	msg.WriteString(e.Msg)
	if e.Err != nil {
		msg.WriteString(" (" + e.Err.Error() + ")")
	}
	for _, f := range e.Fields {
		if f.Detail != e.Msg {
			msg.WriteString("\n  " + f.Pointer + ": " + f.Detail)
		}
	}
	return msg.String()
}
