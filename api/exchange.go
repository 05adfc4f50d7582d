package api

import (
	"context"
	"log/slog"
	"maps"
	"net/http"

	"github.com/go-json-experiment/json"

	"holdfast"
	"holdfast/control"
)

// exchange is one request and what has been found out about it on its way in.
// It belongs to one goroutine.
type exchange struct {
	server   *server
	id       holdfast.RequestID
	instance string
	request  *http.Request
	writer   http.ResponseWriter

	caller   *control.Caller   // an account's key
	operator *control.Operator // an operator's key
	denied   error             // why there is neither
}

type exchangeKey struct{}

func withExchange(ctx context.Context, x *exchange) context.Context {
	return context.WithValue(ctx, exchangeKey{}, x)
}

// exchangeOf is the exchange that ctx belongs to. Every request has one, so its
// absence is a slip in the wiring, which the recovery turns into a problem.
func exchangeOf(ctx context.Context) *exchange {
	x, ok := ctx.Value(exchangeKey{}).(*exchange)
	if !ok {
		panic("api: a handler runs outside an exchange")
	}
	return x
}

// fail answers with the problem that err is, and logs its cause.
func (x *exchange) fail(err error) { x.write(x.tell(err)) }

// tell makes the problem of err and logs what the caller does not get to see.
func (x *exchange) tell(err error) *problem {
	p := x.problemOf(err)
	if p.Status >= http.StatusInternalServerError {
		level := slog.LevelError
		if x.request.Context().Err() != nil {
			level = slog.LevelDebug // the client has gone: that is why
		}
		x.server.options.Logger.LogAttrs(x.request.Context(), level, "request failed",
			slog.String("requestId", x.id.String()), slog.String("method", x.request.Method),
			slog.String("path", x.instance), slog.Int("status", p.Status), slog.Any("cause", err))
	}
	return p
}

// write sends a problem outside huma.
func (x *exchange) write(p *problem) {
	maps.Copy(x.writer.Header(), p.GetHeaders())
	x.send(p.Status, problemType, p)
}

// send writes a JSON body.
func (x *exchange) send(status int, contentType string, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	x.writer.Header().Set("Content-Type", contentType)
	x.writer.WriteHeader(status)
	x.deliver(data)
}

// deliver writes the bytes of an answer. A failure means that the client is
// gone: there is nobody left to tell.
func (x *exchange) deliver(data []byte) {
	if _, err := x.writer.Write(data); err != nil {
		x.server.options.Logger.LogAttrs(x.request.Context(), slog.LevelDebug, "answer not delivered",
			slog.String("requestId", x.id.String()), slog.Any("cause", err))
	}
}
