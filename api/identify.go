package api

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"holdfast"
)

// identify finds out who asks. It refuses nobody: a route says itself what it
// requires, and an open one answers a caller with a bad key too.
func (x *exchange) identify() {
	secret, err := x.secret()
	switch {
	case err != nil:
		x.denied = err
	case strings.HasPrefix(secret, holdfast.OperatorKeyPrefix):
		x.operator, x.denied = x.server.control.AuthenticateOperator(x.request.Context(), secret)
	default:
		x.caller, x.denied = x.server.control.Authenticate(x.request.Context(), secret)
	}
}

// secret is the credential of the request. Older clients of jobs send it as
// X-API-Key; a bad Bearer never falls back to that.
func (x *exchange) secret() (string, error) {
	h := x.request.Header
	switch values := h.Values("Authorization"); {
	case len(values) > 1:
		return "", holdfast.E(holdfast.CodeUnauthorized, "Send the Authorization header once.")
	case len(values) == 1:
		scheme, secret, _ := strings.Cut(values[0], " ")
		if secret = strings.TrimSpace(secret); !strings.EqualFold(scheme, "Bearer") || secret == "" {
			return "", holdfast.E(holdfast.CodeUnauthorized, "Send the API key as `Authorization: Bearer <key>`.")
		}
		return secret, nil
	}
	if key := h.Get("X-API-Key"); key != "" && underJobs(x.request.URL.Path) {
		return key, nil
	}
	return "", holdfast.E(holdfast.CodeUnauthorized, "An API key is required: send it as `Authorization: Bearer <key>`.")
}

func underJobs(path string) bool {
	return path == "/api/jobs" || strings.HasPrefix(path, "/api/jobs/")
}

// limit counts the request and says the state of its limit in the answer. A key
// has a limit of its own; without one it is the address's, so that guessing
// keys and reading open routes are bounded too. Health probes are not counted:
// behind a proxy they share its address with everybody.
func (x *exchange) limit() error {
	n := 1
	if x.request.URL.Path == healthPath {
		n = 0
	}
	d, err := x.server.options.Limiter.Take(x.request.Context(), x.limitKey(), n)
	if _, says := errors.AsType[*holdfast.Error](err); err != nil && !says {
		err = holdfast.Wrap(holdfast.CodeInternal, "api.limit", internalDetail, err)
	}
	if err != nil {
		return err
	}
	h := x.writer.Header()
	h.Set("X-Ratelimit-Limit", strconv.Itoa(d.Limit))
	h.Set("X-Ratelimit-Remaining", strconv.Itoa(d.Remaining))
	h.Set("X-Ratelimit-Reset", wireTime(d.Reset))
	if d.Allowed {
		return nil
	}
	p := x.problem(holdfast.CodeRateLimited, "Too many requests. Wait as long as Retry-After says.")
	p.retryAfter = d.RetryAfter
	return p
}

func (x *exchange) limitKey() string {
	switch {
	case x.caller != nil:
		return "key:" + x.caller.Key.String()
	case x.operator != nil:
		return "operator:" + x.operator.Key.String()
	}
	return "address:" + network(x.request)
}

// network is what one client can be held to: its IPv4 address, or the /64 of
// its IPv6 address, within which it may choose freely. Headers of proxies are
// not believed.
func network(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return addr.String()
	}
	return prefix.String()
}
