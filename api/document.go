package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"holdfast"
)

// The groups of routes in the document.
const (
	tagVPS     = "VPS"
	tagBackups = "VPS Services Backups"
	tagJobs    = "Jobs"

	tagSnapshots = "VPS Services Snapshots"
)

func documentTags() []*huma.Tag {
	return []*huma.Tag{
		{Name: tagVPS, Description: "Virtual private servers; a Cloud VM is one that is billed by the hour."},
		{Name: tagBackups, Description: "Offsite backups of VPSs."},
		{Name: tagSnapshots, Description: "Local, short-lived states of VPSs to roll back to."},
		{Name: tagJobs, Description: "Asynchronous work."},
	}
}

func documentInfo(version string) *huma.Info {
	return &huma.Info{
		Title: "Holdfast", Version: version, License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
		Description: "Backup and recovery for virtual private servers. Times are ISO 8601 in UTC, \"Gb\" means GiB, " +
			"and every failure is a problem document (RFC 7807) whose `code` is stable.",
	}
}

func documentComponents() *huma.Components {
	return &huma.Components{
		Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
		SecuritySchemes: map[string]*huma.SecurityScheme{
			"bearer": {Type: "http", Scheme: "bearer", Description: "An API key: `Authorization: Bearer <key>`."},
			"apiKey": {Type: "apiKey", In: "header", Name: "X-API-Key", Description: "The same key, as older clients of jobs send it."},
		},
	}
}

// document completes an operation with what follows from its access.
func (s *server) document(op *huma.Operation, need access) {
	names := []string{}
	for _, scope := range need.scopes {
		names = append(names, string(scope))
	}
	op.Security = []map[string][]string{{"bearer": names}}
	if need.kind == accessKey {
		op.Security = append(op.Security, map[string][]string{"apiKey": {}})
	}
	if len(names) > 0 {
		word := "scope"
		if len(names) > 1 {
			word = "scopes"
		}
		op.Description += "\n\nRequired API " + word + ": `" + strings.Join(names, "` and `") + "`."
	}
	op.Extensions = map[string]any{"x-required-scopes": names}
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	for _, status := range s.failures(op) {
		op.Responses[strconv.Itoa(status)] = s.problemResponse(status)
	}
}

// failures are the statuses of the problems that an operation may answer with.
func (s *server) failures(op *huma.Operation) []int {
	out := []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable}
	if strings.Contains(op.Path, "{") {
		out = append(out, http.StatusNotFound)
	}
	if op.Method != http.MethodGet {
		out = append(out, http.StatusConflict, http.StatusInsufficientStorage)
	}
	if op.Method == http.MethodPost {
		out = append(out, http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	if op.Method == http.MethodGet && !strings.Contains(op.Path, "{") {
		out = append(out, http.StatusBadRequest)
	}
	return out
}

var failureWords = map[int]string{
	http.StatusBadRequest:            "Invalid request.",
	http.StatusUnauthorized:          "Unauthorized. Authentication is required.",
	http.StatusForbidden:             "Forbidden. The caller lacks a required scope, or the account may not do this.",
	http.StatusNotFound:              "Not found. The resource does not exist or is not owned by the caller.",
	http.StatusConflict:              "Conflict. The gate of this action is shut.",
	http.StatusRequestEntityTooLarge: "The request body is larger than 1 MiB.",
	http.StatusUnsupportedMediaType:  "The request body is not JSON.",
	http.StatusTooManyRequests:       "Rate limited. Retry after the limit resets.",
	http.StatusInternalServerError:   "Internal error. Retry later or contact support if the issue persists.",
	http.StatusServiceUnavailable:    "Unavailable. A host, a region or the service cannot take this now; retry later.",
	http.StatusInsufficientStorage:   "The service's database is full.",
}

// ofFields are the codes that stand in the errors of a problem, never alone.
var ofFields = map[holdfast.Code]bool{
	holdfast.CodeMissingRequired: true, holdfast.CodeUnknownField: true, holdfast.CodeInvalidValue: true,
}

func (s *server) problemResponse(status int) *huma.Response {
	list := []string{}
	for code, r := range codes {
		if r.status == status && !ofFields[code] {
			list = append(list, string(code))
		}
	}
	r := &huma.Response{
		Description: failureWords[status] + " The response body is an RFC 7807 Problem Details document.",
		Headers:     map[string]*huma.Param{},
		Content: map[string]*huma.MediaType{problemType: {
			Schema: s.huma.OpenAPI().Components.Schemas.Schema(typeOf[problem](), true, ""),
		}},
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		r.Headers["Retry-After"] = header("Seconds to wait.", &huma.Schema{Type: huma.TypeInteger})
	}
	slices.Sort(list)
	r.Extensions = map[string]any{"x-codes": list}
	return r
}

// documentBody describes the body of a command, which is optional unless a field is
// required. It does so after the
// registration, for huma would read a body that it knows of, and we read ours.
func documentBody[B any](s *server, path string) {
	schemas := s.huma.OpenAPI().Components.Schemas
	schema := schemas.Schema(typeOf[B](), true, "")
	body := &huma.RequestBody{
		Description: "Optional: no body, an empty one and {} mean the same. Unknown fields are refused.",
		Content:     map[string]*huma.MediaType{jsonType: {Schema: schema}},
	}
	if len(schemas.SchemaFromRef(schema.Ref).Required) > 0 {
		body.Required, body.Description = true, "Unknown fields are refused."
	}
	s.huma.OpenAPI().Paths[path].Post.RequestBody = body
}

// idempotencyParam describes the header that every command takes.
func idempotencyParam() *huma.Param {
	return &huma.Param{
		Name: "Idempotency-Key", In: "header", Schema: &huma.Schema{Type: huma.TypeString},
		Description: "Makes the request take effect at most once: the same key and body within 24 hours give the first answer again.",
		Example:     "7c0e0d1e-1d7f-4a57-9b7e-8f2f5f1f6c54",
	}
}

// documentNulls lets null be one of the values of an enum that may be null; huma
// says so of the type only.
func (s *server) documentNulls() {
	for _, schema := range s.huma.OpenAPI().Components.Schemas.Map() {
		for _, p := range schema.Properties {
			if p.Nullable && len(p.Enum) > 0 {
				p.Enum = append(p.Enum, nil)
			}
		}
	}
}

// documentHeaders adds the headers that every answer carries.
func (s *server) documentHeaders() {
	for _, path := range s.huma.OpenAPI().Paths {
		for _, op := range []*huma.Operation{path.Get, path.Post, path.Delete, path.Patch, path.Put} {
			if op == nil {
				continue
			}
			for _, r := range op.Responses {
				if r.Headers == nil {
					r.Headers = map[string]*huma.Param{}
				}
				r.Headers["X-Request-Id"] = header("The request, to name it to support.", &huma.Schema{Type: huma.TypeString})
				r.Headers["X-RateLimit-Limit"] = header("Requests a minute.", &huma.Schema{Type: huma.TypeInteger})
				r.Headers["X-RateLimit-Remaining"] = header("Requests that may be made at once.", &huma.Schema{Type: huma.TypeInteger})
				r.Headers["X-RateLimit-Reset"] = header("When all of the burst is available again.", &huma.Schema{Type: huma.TypeString, Format: "date-time"})
			}
		}
	}
}

func header(words string, schema *huma.Schema) *huma.Param {
	return &huma.Param{Description: words, Schema: schema}
}
