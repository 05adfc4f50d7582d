package api

import (
	"encoding/json"
	"net/http"
	"sync"
)

const (
	healthPath   = "/healthz"
	documentPath = "/openapi.json"
)

// registerService adds what belongs to no account.
func (s *server) registerService() {
	s.handle(http.MethodGet, healthPath, anyone, func(x *exchange) {
		if err := s.control.Ping(x.request.Context()); err != nil {
			x.fail(err)
			return
		}
		x.send(http.StatusOK, jsonType, map[string]string{"status": "ok"})
	})
	s.handle(http.MethodGet, documentPath, anyone, func(x *exchange) {
		x.writer.Header().Set("Content-Type", jsonType)
		x.writer.Header().Set("Cache-Control", "public, max-age=300")
		x.deliver(s.documentJSON())
	})
}

// finishDocument completes the OpenAPI document, once all routes are known. It
// is rendered when it is first asked for.
func (s *server) finishDocument() {
	s.documentHeaders()
	s.documentNulls()
	s.documentJSON = sync.OnceValue(func() []byte {
		b, err := json.MarshalIndent(s.huma.OpenAPI(), "", " ")
		if err != nil {
			panic("api: the document cannot be written: " + err.Error())
		}
		return b
	})
}
