package api

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/go-json-experiment/json"

	"holdfast"
)

// This file holds all that is global to the process in huma.

var humaGlobals = sync.OnceFunc(func() {
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false
	huma.NewError = func(status int, msg string, _ ...error) huma.StatusError {
		return &problem{Status: status, Detail: msg}
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, _ string, errs ...error) huma.StatusError {
		return exchangeOf(ctx.Context()).parameterProblem(status, errs)
	}
})

// parameterProblem is what huma finds wrong with path, query or headers; bodies
// are read by us.
func (x *exchange) parameterProblem(status int, errs []error) *problem {
	if status >= http.StatusInternalServerError {
		return x.tell(holdfast.Wrap(holdfast.CodeInternal, "api.huma", internalDetail, errors.Join(errs...)))
	}
	p := x.problem(holdfast.CodeInvalidRequest, "A parameter of the request failed validation.")
	for _, err := range errs {
		var d huma.ErrorDetailer
		if !errors.As(err, &d) {
			continue
		}
		_, name, _ := strings.Cut(d.ErrorDetail().Location, ".")
		p.Errors = append(p.Errors, holdfast.Field{
			Pointer: "/" + name, Code: holdfast.CodeInvalidValue, Detail: "The parameter `" + name + "`: " + d.ErrorDetail().Message + ".",
		})
	}
	return p
}

func newHuma(s *server) huma.API {
	humaGlobals()
	format := huma.Format{
		Marshal: func(w io.Writer, v any) error { return json.MarshalWrite(w, v, json.Deterministic(true)) },
		Unmarshal: func([]byte, any) error {
			return errors.New("api: bodies are not read by huma")
		},
	}
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI:    "3.1.0",
			Info:       documentInfo(s.options.Version),
			Components: documentComponents(),
			Tags:       documentTags(),
		},
		Formats:       map[string]huma.Format{jsonType: format, "json": format},
		DefaultFormat: jsonType,
	}
	return huma.NewAPI(config, &adapter{server: s})
}

// adapter puts huma's operations on the server's mux, behind their access.
type adapter struct {
	server *server
	access access // of the operation that is being registered
}

// Handle implements huma.Adapter.
func (a *adapter) Handle(op *huma.Operation, h func(huma.Context)) {
	a.server.handle(op.Method, op.Path, a.access, func(x *exchange) {
		h(humago.NewContext(op, x.request, x.writer))
	})
}

// ServeHTTP implements huma.Adapter.
func (a *adapter) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.server.ServeHTTP(w, r) }
