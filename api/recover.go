package api

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"holdfast"
)

// recover turns a panic into a problem. When the answer has already begun it
// can only be cut off, which the client sees as a broken connection and not as
// a whole answer.
func (x *exchange) recover() {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	x.server.options.Logger.LogAttrs(x.request.Context(), slog.LevelError, "panic in a request",
		slog.String("requestId", x.id.String()), slog.String("path", x.instance),
		slog.String("panic", fmt.Sprint(v)), slog.String("stack", string(debug.Stack())))
	if w, ok := x.writer.(*recorder); ok && w.begun {
		panic(http.ErrAbortHandler)
	}
	x.write(x.problem(holdfast.CodeInternal, internalDetail))
}

// recorder remembers whether an answer has begun.
type recorder struct {
	http.ResponseWriter
	begun bool
}

func (w *recorder) WriteHeader(status int) {
	w.begun = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController through.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
