package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"holdfast"
	"holdfast/control"
)

// handle puts a route on the mux, behind its access.
func (s *server) handle(method, path string, need access, h func(*exchange)) {
	s.methods[method] = true
	s.mux.HandleFunc(method+" "+path, func(_ http.ResponseWriter, r *http.Request) {
		x := exchangeOf(r.Context())
		if err := need.admit(x); err != nil {
			x.fail(err)
			return
		}
		h(x)
	})
}

// register adds a documented route of an account's keys. I holds its
// parameters, O its answer.
func register[I, O any](s *server, need access, op huma.Operation, do func(context.Context, *exchange, *I) (*O, error)) {
	s.document(&op, need)
	s.huma.Adapter().(*adapter).access = need
	huma.Register(s.huma, op, func(ctx context.Context, in *I) (*O, error) {
		x := exchangeOf(ctx)
		out, err := do(ctx, x, in)
		if err != nil {
			return nil, x.tell(err)
		}
		return out, nil
	})
	s.huma.Adapter().(*adapter).access = access{}
}

// commandAnswer is what every command answers.
type commandAnswer struct {
	Replayed string `header:"Idempotency-Replayed" doc:"\"true\" when this is the answer that the request was given before."`
	Body     envelope
}

// command is a route that queues an operation. P holds the parameters of its
// path, B is its optional body.
type command[P, B any] struct {
	// admit refuses whom the route's access lets in, but not the resource: where
	// the scopes depend on that. It comes before everything else. May be nil.
	admit func(ctx context.Context, caller control.Caller, p *P) error
	// check says what is wrong with the body; a failure is that the resource
	// is not the caller's. It runs whether or not the body could be read, so
	// that 404 comes before 400.
	check func(ctx context.Context, caller control.Caller, p *P, b *B) ([]holdfast.Field, error)
	do    func(ctx context.Context, caller control.Caller, p *P, b *B, once *control.Once) (control.Accepted, error)
}

// registerCommand adds a command; accepted says what its 202 means.
func registerCommand[P, B any](s *server, need access, op huma.Operation, accepted string, c command[P, B]) {
	op.DefaultStatus = http.StatusAccepted
	op.Responses = map[string]*huma.Response{"202": {Description: accepted}}
	defer documentBody[B](s, op.Path)
	op.Parameters = append(op.Parameters, idempotencyParam())
	register(s, need, op, func(ctx context.Context, x *exchange, in *P) (*commandAnswer, error) {
		if c.admit != nil {
			if err := c.admit(ctx, *x.caller, in); err != nil {
				return nil, err
			}
		}
		b, once, replay, err := readCommand(ctx, x, func(b *B) ([]holdfast.Field, error) { return c.check(ctx, *x.caller, in, b) })
		if err != nil || replay != nil {
			return replayed(replay, err)
		}
		done, err := c.do(ctx, *x.caller, in, &b, once)
		if err != nil || done.Replay != nil {
			return replayed(done.Replay, err)
		}
		return &commandAnswer{Body: envelopeOf(done.Operation)}, nil
	})
}

// readCommand reads the body of a POST in the order of the checks, unless the same
// request was answered before.
func readCommand[B any](ctx context.Context, x *exchange, check func(b *B) ([]holdfast.Field, error)) (b B, once *control.Once, replay *control.Answer, err error) {
	raw, bodyErr := x.body()
	if once, err = x.once(raw); err != nil {
		return b, nil, nil, err
	}
	var faults []holdfast.Field
	if bodyErr == nil {
		replay, err = x.server.control.Replay(ctx, *x.caller, once)
		if err != nil || replay != nil {
			return b, once, replay, err
		}
		faults = control.ReadObject(raw, &b)
	}
	more, err := check(&b)
	if err != nil {
		return b, once, nil, err
	}
	if bodyErr != nil {
		return b, once, nil, bodyErr
	}
	return b, once, nil, control.Invalid(merge(faults, more))
}

// merge adds the faults of fields that have none yet.
func merge(faults, more []holdfast.Field) []holdfast.Field {
	seen := map[string]bool{}
	for _, f := range faults {
		seen[f.Pointer] = true
	}
	for _, f := range more {
		if !seen[f.Pointer] {
			faults = append(faults, f)
		}
	}
	return faults
}
