package api

import (
	"net/http"

	"holdfast"
)

// row is what the wire says of a code.
type row struct {
	status int
	title  string
}

// codes maps every code to its HTTP status and its title. The codes that end an
// operation have a status too: a job's error is a problem like any other.
var codes = map[holdfast.Code]row{
	holdfast.CodeInvalidRequest:       {http.StatusBadRequest, "Validation failed"},
	holdfast.CodeInvalidCursor:        {http.StatusBadRequest, "Invalid cursor"},
	holdfast.CodeStorageTooSmall:      {http.StatusBadRequest, "Storage too small"},
	holdfast.CodeRegionUnknown:        {http.StatusBadRequest, "Unknown region"},
	holdfast.CodeSameVPS:              {http.StatusBadRequest, "Same VPS"},
	holdfast.CodeMissingRequired:      {http.StatusBadRequest, "Required field missing"},
	holdfast.CodeUnknownField:         {http.StatusBadRequest, "Unknown field"},
	holdfast.CodeInvalidValue:         {http.StatusBadRequest, "Invalid value"},
	holdfast.CodeUnauthorized:         {http.StatusUnauthorized, "Authentication required"},
	holdfast.CodeForbidden:            {http.StatusForbidden, "Scope missing"},
	holdfast.CodeAccountInactive:      {http.StatusForbidden, "Account inactive"},
	holdfast.CodeNoCard:               {http.StatusForbidden, "No card on file"},
	holdfast.CodeNotVerified:          {http.StatusForbidden, "Account not verified"},
	holdfast.CodeNoCloudAccess:        {http.StatusForbidden, "No access to Cloud VMs"},
	holdfast.CodeCPULimitExceeded:     {http.StatusForbidden, "CPU limit exceeded"},
	holdfast.CodeMemoryLimitExceeded:  {http.StatusForbidden, "Memory limit exceeded"},
	holdfast.CodeStorageLimitExceeded: {http.StatusForbidden, "Storage limit exceeded"},
	holdfast.CodeInstanceLimitExceeded: {
		http.StatusForbidden, "Instance limit exceeded"},
	holdfast.CodeNotFound:             {http.StatusNotFound, "Not found"},
	holdfast.CodeVPSNotFound:          {http.StatusNotFound, "VPS not found"},
	holdfast.CodeBackupNotFound:       {http.StatusNotFound, "Backup not found"},
	holdfast.CodeJobNotFound:          {http.StatusNotFound, "Job not found"},
	holdfast.CodeNoBackups:            {http.StatusNotFound, "No backups"},
	holdfast.CodeMethodNotAllowed:     {http.StatusMethodNotAllowed, "Method not allowed"},
	holdfast.CodeVPSNotReady:          {http.StatusConflict, "VPS not ready"},
	holdfast.CodeServiceSuspended:     {http.StatusConflict, "Service suspended"},
	holdfast.CodeServiceTerminated:    {http.StatusConflict, "Service terminated"},
	holdfast.CodePendingOrder:         {http.StatusConflict, "Order pending"},
	holdfast.CodeBackupQuotaExceeded:  {http.StatusConflict, "Backup quota exceeded"},
	holdfast.CodeOperationInProgress:  {http.StatusConflict, "Operation in progress"},
	holdfast.CodeBackupProtected:      {http.StatusConflict, "Backup protected"},
	holdfast.CodeBackupLocked:         {http.StatusConflict, "Backup locked"},
	holdfast.CodeBackupNotRestorable:  {http.StatusConflict, "Backup not restorable"},
	holdfast.CodeIdempotencyKeyReused: {http.StatusConflict, "Idempotency key reused"},
	holdfast.CodeVPSStateChanged:      {http.StatusConflict, "VPS state changed"},
	holdfast.CodeSnapshotNotFound:     {http.StatusNotFound, "Snapshot not found"},
	holdfast.CodeScheduleNotFound:     {http.StatusNotFound, "Schedule not found"},
	holdfast.CodeSnapshotExists:       {http.StatusConflict, "Snapshot exists"},
	holdfast.CodeSnapshotLimitReached: {http.StatusConflict, "Snapshot limit reached"},
	holdfast.CodeSnapshotsUnavailable: {http.StatusConflict, "Snapshots unavailable"},
	holdfast.CodeNothingToUndo:        {http.StatusConflict, "Nothing to undo"},
	holdfast.CodeJobNotCancellable:    {http.StatusConflict, "Job not cancellable"},
	holdfast.CodeCancelled:            {http.StatusConflict, "Cancelled"},
	holdfast.CodeUnpaidInvoice:        {http.StatusConflict, "Unpaid invoice"},
	holdfast.CodeBodyTooLarge:         {http.StatusRequestEntityTooLarge, "Body too large"},
	holdfast.CodeUnsupportedMediaType: {http.StatusUnsupportedMediaType, "Unsupported media type"},
	holdfast.CodeRateLimited:          {http.StatusTooManyRequests, "Rate limited"},
	holdfast.CodeInternal:             {http.StatusInternalServerError, "Internal error"},
	holdfast.CodeBackupDamaged:        {http.StatusInternalServerError, "Backup damaged"},
	holdfast.CodeRegionCapacity:       {http.StatusServiceUnavailable, "Region capacity exhausted"},
	holdfast.CodeHostUnavailable:      {http.StatusServiceUnavailable, "Host unavailable"},
	holdfast.CodeUpstreamUnavailable:  {http.StatusServiceUnavailable, "Upstream unavailable"},
	holdfast.CodeSiteFull:             {http.StatusInsufficientStorage, "Backup site full"},
	holdfast.CodeHostDiskFull:         {http.StatusInsufficientStorage, "Host disk full"},
	holdfast.CodeScratchExhausted:     {http.StatusInsufficientStorage, "Scratch space exhausted"},
	holdfast.CodeDatabaseFull:         {http.StatusInsufficientStorage, "Database full"},
}

// lookup is the row of a code; an unknown code is an internal error, so that a
// slip is loud in tests and harmless on the wire.
func lookup(code holdfast.Code) (holdfast.Code, row) {
	if r, ok := codes[code]; ok {
		return code, r
	}
	return holdfast.CodeInternal, codes[holdfast.CodeInternal]
}
