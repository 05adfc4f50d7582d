package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"holdfast"
	"holdfast/control"
)

type restartBody struct {
	Force *bool `json:"force,omitzero" doc:"Do not ask the guest to power off first."`
}

func (s *server) registerPower() {
	for _, a := range []struct {
		action       control.PowerAction
		id, gate     string
		summary, doc string
	}{
		{control.PowerStart, "startVps", "canStart", "Start a VPS", "Boot a stopped VPS."},
		{control.PowerShutdown, "shutdownVps", "canShutdown", "Shut a VPS down", "Ask the guest to power off; after a minute it is stopped by force."},
		{control.PowerStop, "stopVps", "canStop", "Stop a VPS by force", "As pulling the plug: what the guest has not written is lost."},
		{control.PowerReset, "resetVps", "canReset", "Reset a VPS", "As its reset button: what the guest has not written is lost."},
	} {
		registerCommand(s, scopes(holdfast.ScopePowerVM), powerOperation(a.action, a.id, a.gate, a.summary, a.doc), "Power action queued.", command[vpsPath, noBody]{
			check: func(ctx context.Context, caller control.Caller, p *vpsPath, _ *noBody) ([]holdfast.Field, error) {
				return nil, s.control.OwnVPS(ctx, caller, p.ID)
			},
			do: func(ctx context.Context, caller control.Caller, p *vpsPath, _ *noBody, once *control.Once) (control.Accepted, error) {
				return s.control.Power(ctx, caller, p.ID, a.action, false, once)
			},
		})
	}
	registerCommand(s, scopes(holdfast.ScopePowerVM), powerOperation(control.PowerRestart, "restartVps", "canRestart", "Restart a VPS",
		"Ask the guest to power off, stop it by force after a minute, and boot it."), "Power action queued.", command[vpsPath, restartBody]{
		check: func(ctx context.Context, caller control.Caller, p *vpsPath, _ *restartBody) ([]holdfast.Field, error) {
			return nil, s.control.OwnVPS(ctx, caller, p.ID)
		},
		do: func(ctx context.Context, caller control.Caller, p *vpsPath, b *restartBody, once *control.Once) (control.Accepted, error) {
			return s.control.Power(ctx, caller, p.ID, control.PowerRestart, b.Force != nil && *b.Force, once)
		},
	})
}

func powerOperation(a control.PowerAction, id, gate, summary, doc string) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: http.MethodPost, Path: "/api/v2/vps/{id}/actions/" + string(a), Tags: []string{tagVPS}, Summary: summary,
		Description: doc + " Check actions." + gate + " of GET /api/v2/vps/{id} first. A backup is no reason to refuse it: it goes on at its point in time, or begins anew.",
	}
}
