package api

import (
	"net/http"
	"slices"
	"strings"

	"holdfast"
)

// route finds the route of a request. ServeMux would redirect an unclean path
// and answer in plain text; so its own answers are never used.
func (s *server) route(x *exchange) {
	r := x.request
	if unclean(r) {
		x.fail(notFound())
		return
	}
	if _, pattern := s.mux.Handler(r); pattern != "" {
		s.mux.ServeHTTP(x.writer, r)
		return
	}
	allowed := s.allowed(r)
	switch {
	case len(allowed) == 0:
		x.fail(notFound())
	case r.Method == http.MethodOptions:
		x.writer.Header().Set("Allow", strings.Join(allowed, ", "))
		x.writer.WriteHeader(http.StatusNoContent)
	default:
		p := x.problem(holdfast.CodeMethodNotAllowed, "This path does not take "+method(r)+". Use "+strings.Join(allowed, " or ")+".")
		p.allow = strings.Join(allowed, ", ")
		x.write(p)
	}
}

func notFound() error {
	return holdfast.E(holdfast.CodeNotFound, "There is nothing at this path. /openapi.json lists all routes.")
}

// unclean says whether a path is written otherwise than our routes are: they
// need neither escapes nor dots as segments, so that anything of the kind is
// either a slip or an attempt to be read differently by two programs.
func unclean(r *http.Request) bool {
	path := r.URL.EscapedPath()
	if r.Method == http.MethodConnect || !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "%\\;") {
		return true
	}
	if path == "/" {
		return false
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		if segment == "" || segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// allowed lists the methods that the path takes; none means that there is no
// such path.
func (s *server) allowed(r *http.Request) []string {
	var out []string
	for m := range s.methods {
		try := r.Clone(r.Context())
		try.Method = m
		if _, pattern := s.mux.Handler(try); pattern != "" {
			out = append(out, m)
			if m == http.MethodGet {
				out = append(out, http.MethodHead)
			}
		}
	}
	if len(out) > 0 {
		out = append(out, http.MethodOptions)
	}
	slices.Sort(out)
	return out
}

// method is the request's method as it may be repeated to the caller.
func method(r *http.Request) string {
	if len(r.Method) > 16 {
		return "this method"
	}
	return r.Method
}
