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
func (x *exchange) recover(answer *recorder) {
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
	if answer.status != 0 {
		panic(http.ErrAbortHandler)
	}
	x.write(x.problem(holdfast.CodeInternal, internalDetail))
}
