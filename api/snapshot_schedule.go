package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"

	"holdfast"
	"holdfast/control"
)

type snapshotSchedule struct {
	Enabled       bool    `json:"enabled"`
	IntervalHours int     `json:"intervalHours" minimum:"4" maximum:"24"`
	LastRun       *string `json:"lastRun" format:"date-time" doc:"null: none yet."`
	NextRun       *string `json:"nextRun" format:"date-time" doc:"null while it is switched off."`
}

type scheduleGates struct {
	CanEnable gate `json:"canEnable"`
}

type scheduleState struct {
	Schedule  orNull[snapshotSchedule] `json:"schedule" doc:"null: there is none."`
	Limits    snapshotLimits           `json:"limits"`
	Available bool                     `json:"available" doc:"Whether there can be snapshots of this VPS at all."`
	Reason    *string                  `json:"reason" doc:"Why there cannot."`
	Actions   scheduleGates            `json:"actions"`
}

type scheduleOutput struct{ Body scheduleState }

type setScheduleOutput struct {
	Replayed string `header:"Idempotency-Replayed" doc:"\"true\" when this is the answer that the request was given before."`
	Body     scheduleState
}

type setScheduleBody struct {
	Enabled       *bool    `json:"enabled,omitzero" doc:"Whether snapshots are taken; true when left out."`
	IntervalHours *float64 `json:"intervalHours,omitzero" doc:"How often, in hours: rounded down, then clamped to 4 to 24. As it is, or 24, when left out." example:"6"`
}

func (s *server) registerSnapshotSchedules() {
	const path = "/api/v2/vps/{id}/snapshot-schedules"
	register(s, scopes(holdfast.ScopeReadVM), huma.Operation{
		OperationID: "getSnapshotSchedule", Method: http.MethodGet, Path: path, Tags: []string{tagSnapshots},
		Summary:     "Get the schedule of a VPS's snapshots",
		Description: "A VPS has one schedule of snapshots, or none.",
	}, func(ctx context.Context, x *exchange, in *vpsPath) (*scheduleOutput, error) {
		state, err := s.control.GetSnapshotSchedule(ctx, *x.caller, in.ID)
		if err != nil {
			return nil, err
		}
		return &scheduleOutput{scheduleStateOf(state)}, nil
	})
	defer documentBody[setScheduleBody](s, path)
	register(s, scopes(holdfast.ScopeWriteVM), huma.Operation{
		OperationID: "setSnapshotSchedule", Method: http.MethodPost, Path: path, Tags: []string{tagSnapshots},
		DefaultStatus: http.StatusOK, Parameters: []*huma.Param{idempotencyParam()},
		Summary: "Set the schedule of a VPS's snapshots",
		Description: "Have snapshots taken every few hours. When the VPS has all that it may have, the oldest one that a schedule made goes first, and never one that was made by hand. " +
			"A snapshot that is due while another operation works on the VPS is taken afterwards; of several that were missed, one is.",
	}, s.setSnapshotSchedule)
	register(s, scopes(holdfast.ScopeWriteVM), huma.Operation{
		OperationID: "deleteSnapshotSchedule", Method: http.MethodDelete, Path: path, Tags: []string{tagSnapshots},
		DefaultStatus: http.StatusNoContent,
		Summary:       "Delete the schedule of a VPS's snapshots",
		Description:   "The snapshots that it made stay until they expire.",
	}, func(ctx context.Context, x *exchange, in *vpsPath) (*struct{}, error) {
		return nil, s.control.DeleteSnapshotSchedule(ctx, *x.caller, in.ID)
	})
}

func (s *server) setSnapshotSchedule(ctx context.Context, x *exchange, in *vpsPath) (*setScheduleOutput, error) {
	b, once, replay, err := readCommand(ctx, x, func(*setScheduleBody) ([]holdfast.Field, error) {
		return nil, s.control.OwnVPS(ctx, *x.caller, in.ID)
	})
	if err != nil {
		return nil, err
	}
	out := &setScheduleOutput{}
	if replay == nil {
		var state control.SnapshotSchedule
		state, replay, err = s.control.SetSnapshotSchedule(ctx, *x.caller, in.ID, control.ScheduleRequest(b), once, func(kept control.SnapshotSchedule) (control.Answer, error) {
			body, err := json.Marshal(scheduleStateOf(kept))
			return control.Answer{Status: http.StatusOK, Body: body}, err
		})
		if err != nil {
			return nil, err
		}
		out.Body = scheduleStateOf(state)
	}
	if replay != nil {
		out.Replayed = "true"
		if err := json.Unmarshal(replay.Body, &out.Body); err != nil {
			return nil, holdfast.Wrap(holdfast.CodeInternal, "api.setSnapshotSchedule", internalDetail, err)
		}
	}
	return out, nil
}

func scheduleStateOf(s control.SnapshotSchedule) scheduleState {
	out := scheduleState{
		Limits: snapshotLimits{s.Limit}, Available: s.Available.Allowed, Reason: textOrNull(s.Available.Reason),
		Actions: scheduleGates{gateOf(s.Enable)},
	}
	if s.Schedule != nil {
		wire := snapshotSchedule{Enabled: s.Schedule.Enabled, IntervalHours: s.Schedule.IntervalHours, LastRun: wireTimeOrNull(s.Schedule.LastAt)}
		if wire.Enabled {
			wire.NextRun = wireTimeOrNull(s.Schedule.NextAt)
		}
		out.Schedule.value = &wire
	}
	return out
}
