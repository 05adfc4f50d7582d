package api

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"holdfast"
	"holdfast/control"
	"holdfast/internal/testpg"
	"holdfast/store"
)

// TestPanics drives routes that fail in ways that ours should not.
func TestPanics(t *testing.T) {
	db, err := store.Open(t.Context(), testpg.At(t, filepath.Join(t.TempDir(), "db")), store.WithReserve(0))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s := New(control.New(db, control.Options{}), Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}).(*server)
	s.handle("GET", "/panic", anyone, func(*exchange) { panic("secret cause") })
	s.handle("GET", "/late", anyone, func(x *exchange) {
		x.send(http.StatusOK, jsonType, map[string]string{})
		panic("late")
	})
	s.handle("GET", "/abort", anyone, func(*exchange) { panic(http.ErrAbortHandler) })
	s.handle("GET", "/nobody", access{}, func(*exchange) { t.Error("a route without access was reached") })

	get := func(path string) (w *httptest.ResponseRecorder, recovered any) {
		w = httptest.NewRecorder()
		defer func() { recovered = recover() }()
		s.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w, nil
	}
	w, recovered := get("/panic")
	if recovered != nil || w.Code != 500 || w.Header().Get("Content-Type") != problemType || !strings.Contains(w.Body.String(), `"code":"internal_error"`) {
		t.Errorf("%v %d %s", recovered, w.Code, w.Body)
	}
	if strings.Contains(w.Body.String(), "secret cause") || !strings.Contains(log.String(), "secret cause") || !strings.Contains(log.String(), w.Header().Get("X-Request-Id")) {
		t.Errorf("the cause belongs into the log only: %s", log.String())
	}
	for _, path := range []string{"/late", "/abort"} {
		_, recovered := get(path)
		if err, ok := recovered.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("%s: %v", path, recovered)
		}
	}
	if w, _ := get("/nobody"); w.Code != 403 {
		t.Errorf("a route without access: %d", w.Code)
	}

	// A database that is gone is a problem of ours, told without its cause.
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/healthz", "/api/v2/vps"} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Authorization", "Bearer "+holdfast.NewSecret(holdfast.APIKeyPrefix))
		s.ServeHTTP(w, r)
		if w.Code != 500 || strings.Contains(w.Body.String(), "sql") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}
