package api_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// document is the published OpenAPI document, as a client's tools read it.
type document struct {
	spec   *openapi3.T
	router routers.Router
}

// loaded is read once for all tests of the process: the document depends on the
// code alone, and reading it takes longer than most tests.
var (
	loadOnce sync.Once
	loaded   *document
)

func loadDocument(t testing.TB, h http.Handler) *document {
	t.Helper()
	loadOnce.Do(func() { loaded = readDocument(t, h) })
	if loaded == nil {
		t.Fatal("the document could not be read")
	}
	return loaded
}

func readDocument(t testing.TB, h http.Handler) *document {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("/openapi.json: %d", w.Code)
	}
	spec, err := openapi3.NewLoader().LoadFromData(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := spec.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	router, err := gorillamux.NewRouter(spec)
	if err != nil {
		t.Fatal(err)
	}
	return &document{spec, router}
}

// check holds an answer to a documented route against the document.
func (d *document) check(t testing.TB, req *http.Request, a answer) {
	t.Helper()
	route, params, err := d.router.FindRoute(req)
	if err != nil {
		return // not a documented route: the test says itself what it expects
	}
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
		Status:                 a.status, Header: a.header, Body: io.NopCloser(bytes.NewReader(a.raw)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	if err := openapi3filter.ValidateResponse(t.Context(), in); err != nil {
		t.Errorf("%s %s: the answer is not the documented one: %v\n%s", req.Method, req.URL, err, a.raw)
	}
}
