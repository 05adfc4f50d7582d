package api

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"holdfast"
	"holdfast/control"
)

// maxIdempotencyKey is longer than any UUID, ULID or hash.
const maxIdempotencyKey = 255

// once is what the Idempotency-Key header asks for; nil without one.
func (x *exchange) once(body []byte) (*control.Once, error) {
	keys := x.request.Header.Values("Idempotency-Key")
	if len(keys) == 0 {
		return nil, nil
	}
	if len(keys) > 1 || keys[0] == "" || len(keys[0]) > maxIdempotencyKey || strings.ContainsFunc(keys[0], func(r rune) bool { return r < '!' || r > '~' }) {
		return nil, holdfast.E(holdfast.CodeInvalidRequest, "The Idempotency-Key header must be sent once and have 1 to 255 printable ASCII characters without spaces.")
	}
	return &control.Once{
		Method: x.request.Method, Path: x.instance, Key: keys[0], Fingerprint: fingerprint(body),
		Answer: func(o holdfast.Operation) (control.Answer, error) {
			b, err := json.Marshal(envelopeOf(o))
			return control.Answer{Status: http.StatusAccepted, Body: b}, err
		},
	}, nil
}

// fingerprint tells bodies apart that mean different things, and not those that
// are only written differently. Nothing and {} mean the same.
func fingerprint(body []byte) string {
	v := jsontext.Value(strings.TrimSpace(string(body)))
	if len(v) == 0 {
		v = jsontext.Value("{}")
	}
	kind := "canonical:"
	if err := v.Canonicalize(); err != nil {
		kind = "raw:" // not JSON: it will be refused, and keeps no answer
	}
	sum := sha256.Sum256([]byte(kind + string(v)))
	return hex.EncodeToString(sum[:])
}

// replayed gives the first answer to a request again.
func replayed(a *control.Answer, err error) (*commandAnswer, error) {
	if err != nil {
		return nil, err
	}
	out := &commandAnswer{Replayed: "true"}
	if err := json.Unmarshal(a.Body, &out.Body); err != nil {
		return nil, holdfast.Wrap(holdfast.CodeInternal, "api.replayed", internalDetail, err)
	}
	return out, nil
}
