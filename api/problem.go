package api

import (
	"errors"
	"maps"
	"net/http"
	"strconv"
	"time"

	"holdfast"
)

// problem is the body of every failure, and of a failed job's error.
type problem struct {
	Type       string           `json:"type" format:"uri-reference" doc:"Names the kind of problem; it is the address of a page about it."`
	Title      string           `json:"title" doc:"The kind of problem in a few words." example:"Validation failed"`
	Status     int              `json:"status" doc:"The HTTP status." example:"400"`
	Detail     string           `json:"detail" doc:"What went wrong this time, and the way out." example:"The request body failed validation."`
	Code       holdfast.Code    `json:"code" doc:"Stable machine-readable code. Branch on this field, not on detail." example:"invalid_request"`
	Instance   string           `json:"instance" format:"uri-reference" doc:"The path of the request." example:"/api/v2/vps"`
	RequestID  string           `json:"requestId" doc:"The request, as in X-Request-Id: name it to support." example:"req_01hxa3b4c5d6e7f8g9h0j1k2m3"`
	Timestamp  string           `json:"timestamp" format:"date-time" example:"2026-04-27T12:34:56.000Z"`
	Errors     []holdfast.Field `json:"errors,omitzero" doc:"What is wrong with single fields of the request."`
	Extensions map[string]any   `json:"extensions" doc:"Further members that the code calls for."`
	// BlockerReasons stand here and in the extensions: both kinds of client are
	// about.
	BlockerReasons []holdfast.Code `json:"blockerReasons,omitzero" doc:"All reasons why the account may not use Cloud VMs."`

	retryAfter time.Duration
	allow      string
}

// Error and GetStatus make a problem what huma calls a StatusError.
func (p *problem) Error() string  { return string(p.Code) + ": " + p.Detail }
func (p *problem) GetStatus() int { return p.Status }

// ContentType replaces huma's choice.
func (p *problem) ContentType(string) string { return problemType }

// GetHeaders are the headers that go with the problem.
func (p *problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retryAfter > 0 {
		// Rounded up: a client that waits as told must not be refused again.
		h.Set("Retry-After", strconv.FormatInt(int64((p.retryAfter+time.Second-1)/time.Second), 10))
	}
	if p.allow != "" {
		h.Set("Allow", p.allow)
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="holdfast"`)
	}
	return h
}

const (
	problemType = "application/problem+json"
	jsonType    = "application/json"
)

// unavailableRetry is what a client is told to wait for a host or for room.
const unavailableRetry = 30 * time.Second

// problemOf says err on the wire: the words of a holdfast.Error, and of
// anything else only that it happened.
func (x *exchange) problemOf(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	var e *holdfast.Error
	if !errors.As(err, &e) {
		e = holdfast.E(holdfast.CodeInternal, internalDetail)
	}
	code, r := lookup(e.Code)
	p = x.problem(code, e.Msg)
	p.Errors = e.Fields
	maps.Copy(p.Extensions, e.Extensions)
	if reasons, ok := e.Extensions["blockerReasons"].([]holdfast.Code); ok {
		p.BlockerReasons = reasons
	}
	switch {
	case code == holdfast.CodeNoBackups:
		p = x.problem(holdfast.CodeBackupNotFound, e.Msg)
	case code == holdfast.CodeInternal:
		p.Detail = internalDetail
	case r.status == http.StatusServiceUnavailable:
		p.retryAfter = unavailableRetry
	}
	return p
}

const internalDetail = "Something went wrong on our side. Try again later; if it persists, contact support and name the requestId."

// problem makes a problem about this exchange.
func (x *exchange) problem(code holdfast.Code, detail string) *problem {
	_, r := lookup(code)
	return &problem{
		Type: x.server.options.DocsBase + "/errors/" + string(code), Title: r.title, Status: r.status,
		Detail: detail, Code: code, Instance: x.instance, RequestID: x.id.String(),
		Timestamp: wireTime(x.server.options.Clock()), Extensions: map[string]any{},
	}
}

// wireTime is ISO 8601 in UTC with milliseconds.
func wireTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func wireTimeOrNull(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := wireTime(t)
	return &s
}
