package api

import (
	"log/slog"
	"net/http"
	"time"
)

// recorder remembers the status of an answer; 0: none has begun.
type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController through.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// logged writes one line about the exchange, for those who want to see all. It
// names the key by its id and holds nothing of the request but its path.
func (x *exchange) logged(answer *recorder, began time.Time) {
	x.server.options.Logger.LogAttrs(x.request.Context(), slog.LevelDebug, "request",
		slog.String("requestId", x.id.String()), slog.String("method", method(x.request)), slog.String("path", x.instance),
		slog.Int("status", answer.status), slog.Duration("took", time.Since(began)), slog.String("caller", x.limitKey()))
}
