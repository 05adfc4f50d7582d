package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"holdfast/vault/blob"
)

var (
	// ErrUnsuitable says that a server lacks what a vault stands on; the text says what.
	ErrUnsuitable = errors.New("the S3 server is not suitable for a vault")
	// errProtocol: the server's answer contradicts S3 or itself.
	errProtocol = errors.New("the server's answer makes no sense")
)

// Error is a request that failed for good: because trying again does not help,
// or after the last attempt. It holds no key.
type Error struct {
	Op       string // what was done, and to which name
	Status   int    // HTTP, 0 without an answer
	Code     string // S3's, "" without an answer
	Attempts int
	Err      error

	again bool
}

// Error implements error.
func (e *Error) Error() string {
	s := e.Op
	if e.Attempts > 1 {
		s = fmt.Sprintf("%s (%d attempts)", s, e.Attempts)
	}
	if e.Status != 0 {
		return fmt.Sprintf("%s: status %d %s: %v", s, e.Status, printable(e.Code), e.Err)
	}
	return s + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Retryable reports whether the same may succeed later, and after how long to
// try; it is what an operation asks its errors.
func (e *Error) Retryable() (bool, time.Duration) { return e.again, 10 * time.Second }

// printable cuts and cleans text of the server, which may be hostile.
func printable(s string) string {
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return -1
		}
		return r
	}, s)
}

// The codes that decide by themselves, whatever the status.
var (
	fullCodes = []string{"QuotaExceeded", "StorageQuotaExceeded", "BucketQuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage", "NoSpaceLeftOnDevice", "StorageFull"}
	// BadRequest, which is none of S3's own, is what a server says to the rest of a
	// body whose request it has refused unread, and it meets the next request.
	againCodes = []string{"BadRequest", "SlowDown", "SlowDownRead", "SlowDownWrite", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestThrottled", "BandwidthLimitExceeded", "ConditionalRequestConflict", "OperationAborted", "TooManyRequests", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch", "ExistingObjectIsDirectory"}
	goneCodes  = []string{"NoSuchKey", "NoSuchVersion", "ObjectParentIsFile", "MethodNotAllowed"}
)

// failure is one attempt's error, judged.
type failure struct {
	status int
	code   string
	err    error
	again  bool
}

func judge(err error) failure {
	r, answered := errors.AsType[minio.ErrorResponse](err)
	if !answered || r.StatusCode == 0 && r.Code == "" {
		return failure{err: err, again: againWithout(err)}
	}
	f := failure{status: r.StatusCode, code: r.Code, err: errors.New(printable(err.Error()))}
	switch {
	case slices.Contains(fullCodes, r.Code), r.StatusCode == http.StatusInsufficientStorage:
		f.err = fmt.Errorf("%w: %w", blob.ErrNoSpace, f.err)
	case r.StatusCode == http.StatusPreconditionFailed:
		f.err = fmt.Errorf("%w: %w", blob.ErrExists, f.err)
	case slices.Contains(goneCodes, r.Code):
		f.err = fmt.Errorf("%w: %w", blob.ErrNotFound, f.err)
	case slices.Contains(againCodes, r.Code):
		f.again = true
	default:
		f.again = r.StatusCode >= 500 && r.StatusCode != http.StatusNotImplemented ||
			r.StatusCode == http.StatusTooManyRequests || r.StatusCode == http.StatusRequestTimeout
	}
	return f
}

// againWithout judges an error that came without the server's word: a network
// that may heal, unless it is our own or about whom we speak to.
func againWithout(err error) bool {
	for _, final := range []error{blob.ErrNotFound, blob.ErrExists, blob.ErrNoSpace, blob.ErrTooLarge, blob.ErrName, blob.ErrRetained, ErrUnsuitable, errRedirect, errAnswer, errUnexpectedEnd, errUploadGone} {
		if errors.Is(err, final) {
			return false
		}
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false
	}
	if _, ok := errors.AsType[xml.UnmarshalError](err); ok { // another answer than S3's
		return false
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return false
	}
	return true
}

// ended reports whether the caller's own context is the reason; then that is the error.
func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}
