package api

import (
	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"holdfast"
)

// orNull is a T, or null: huma has no words for that of an object.
type orNull[T any] struct{ value *T }

// MarshalJSON writes the value or null.
func (o orNull[T]) MarshalJSON() ([]byte, error) { return json.Marshal(o.value) }

// UnmarshalJSON reads an answer that was kept.
func (o *orNull[T]) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &o.value) }

// Schema says so in the document.
func (orNull[T]) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{AnyOf: []*huma.Schema{r.Schema(typeOf[T](), true, ""), {Type: "null"}}}
}

// object is any JSON object, or null.
type object struct{ raw jsontext.Value }

// MarshalJSON writes the object or null.
func (o object) MarshalJSON() ([]byte, error) {
	if len(o.raw) == 0 {
		return []byte("null"), nil
	}
	return o.raw, nil
}

// UnmarshalJSON keeps what it is given.
func (o *object) UnmarshalJSON(b []byte) error {
	o.raw = nil
	if string(b) != "null" {
		o.raw = jsontext.Value(b).Clone()
	}
	return nil
}

// Schema says so in the document.
func (object) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, Nullable: true, AdditionalProperties: true}
}

// gate is whether an action would be accepted now.
type gate struct {
	Allowed bool    `json:"allowed"`
	Reason  *string `json:"reason" doc:"Why not, and the way out."`
	Code    *string `json:"code" doc:"The code of the problem that the call would get." example:"backup_quota_exceeded"`
}

func gateOf(g holdfast.Gate) gate {
	if g.Allowed {
		return gate{Allowed: true}
	}
	code := string(g.Code)
	return gate{Reason: &g.Reason, Code: &code}
}

func textOrNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
