package api

import (
	"reflect"

	"github.com/go-json-experiment/json/jsontext"

	"holdfast"
)

// envelope is the answer to everything that is done asynchronously.
type envelope struct {
	Operation Operation `json:"operation"`
}

// Operation is asynchronous work on the wire.
type Operation struct {
	Status  string `json:"status" enum:"pending,queued,in_progress,completed,failed" example:"queued"`
	JobID   string `json:"jobId" doc:"Public job id." example:"job_01hxa3b4c5d6e7f8g9h0j1k2m3"`
	PollURL string `json:"pollUrl" doc:"Where to poll the job." example:"/api/jobs/job_01hxa3b4c5d6e7f8g9h0j1k2m3"`
	Result  object `json:"result" doc:"Filled only when the operation is completed."`
}

func operationOf(o holdfast.Operation) Operation {
	out := Operation{Status: string(o.Status), JobID: o.ID.String(), PollURL: holdfast.PollURL(o.ID)}
	if o.Status == holdfast.OperationCompleted {
		out.Result = object{jsontext.Value(o.Result)}
	}
	return out
}

func envelopeOf(o holdfast.Operation) envelope { return envelope{operationOf(o)} }

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }
