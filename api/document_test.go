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

// loaded keeps what was read of a document, by its bytes: reading takes longer
// than most tests.
var loaded sync.Map

func loadDocument(t testing.TB, h http.Handler) *document {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("/openapi.json: %d", w.Code)
	}
	if d, ok := loaded.Load(w.Body.String()); ok {
		return d.(*document)
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
	d := &document{spec, router}
	loaded.Store(w.Body.String(), d)
	return d
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
