package api

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"holdfast"
	"holdfast/control"
)

// Every code, sent as a problem: its status, its type, its headers, and nothing
// of its cause.
func TestEveryCodeAsAProblem(t *testing.T) {
	for _, code := range declaredCodes(t) {
		var log bytes.Buffer
		s := &server{options: Options{DocsBase: "https://d", Logger: slog.New(slog.NewTextHandler(&log, nil))}.withDefaults()}
		w := httptest.NewRecorder()
		x := &exchange{server: s, id: holdfast.NewID[holdfast.RequestID](), instance: "/p", request: httptest.NewRequest("GET", "/p", nil), writer: w}
		x.fail(holdfast.Wrap(code, "op", "what to do", errors.New("secret cause")))

		want := code
		if code == holdfast.CodeNoBackups { // a gate's code only
			want = holdfast.CodeBackupNotFound
		}
		var p problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		if w.Code != codes[code].status || p.Status != w.Code || p.Code != want || p.Type != "https://d/errors/"+string(want) || p.Title == "" {
			t.Errorf("%s: %d %s", code, w.Code, w.Body)
		}
		if (p.Detail == "what to do") == (code == holdfast.CodeInternal) || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s tells %q", code, p.Detail)
		}
		if (w.Code >= 500) != strings.Contains(log.String(), "secret cause") {
			t.Errorf("%s: the log has %q", code, log.String())
		}
		if (w.Header().Get("Retry-After") != "") != (w.Code == http.StatusServiceUnavailable) {
			t.Errorf("%s: Retry-After %q", code, w.Header().Get("Retry-After"))
		}
	}
}

func TestErrorsThatAreNotOurs(t *testing.T) {
	s := &server{options: Options{}.withDefaults()}
	x := &exchange{server: s, request: httptest.NewRequest("GET", "/p", nil)}
	for _, err := range []error{errors.New("plain"), &holdfast.Error{Code: "unheard_of", Msg: "m"}, control.Invalid([]holdfast.Field{{Code: "x"}})} {
		p := x.problemOf(err)
		if p.Code != holdfast.CodeInternal && p.Code != holdfast.CodeInvalidRequest || p.Detail == "m" || p.Detail == "plain" {
			t.Errorf("%v: %+v", err, p)
		}
	}
}
