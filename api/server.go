package api

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"holdfast"
	"holdfast/control"
)

// Options of the API. The zero value of a field means its default.
type Options struct {
	// DocsBase is what the `type` of a problem begins with, such as
	// "https://backup.example.com"; "" makes it a relative reference.
	DocsBase string
	// Version is the service's, for the OpenAPI document.
	Version string
	// Limiter counts the requests of each key, and of each address without
	// one; nil: in memory, by Rate.
	Limiter Limiter
	Rate    Rate // default DefaultRate
	Logger  *slog.Logger
	Clock   func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Rate.PerMinute <= 0 || o.Rate.Burst <= 0 {
		o.Rate = DefaultRate
	}
	if o.Limiter == nil {
		o.Limiter = NewLimiter(o.Rate, o.Clock)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	return o
}

type server struct {
	control *control.Control
	options Options
	mux     *http.ServeMux
	huma    huma.API
	methods map[string]bool // of all routes, to tell 405 from 404

	documentJSON func() []byte
}

// New makes the handler of the whole HTTP surface: the public API, the
// operator's door, /openapi.json and /healthz. It is safe for concurrent use.
func New(c *control.Control, o Options) http.Handler {
	s := &server{control: c, options: o.withDefaults(), mux: http.NewServeMux(), methods: map[string]bool{}}
	s.huma = newHuma(s)
	s.registerVPS()
	s.registerPower()
	s.registerBackups()
	s.registerRestore()
	s.registerRestoreInPlace()
	s.registerRestoreFrom()
	s.registerSnapshots()
	s.registerSnapshotSchedules()
	s.registerJobs()
	s.registerJobList()
	s.registerJobCancel()
	s.registerAdmin()
	s.registerService()
	s.finishDocument()
	return s
}

// maxBody is what a request's body may have at most, in bytes.
const maxBody = 1 << 20

// ServeHTTP takes a request through the checks that come before its route: who
// asks, whether too often, whether the path is one at all.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := &recorder{ResponseWriter: w}
	x := &exchange{server: s, id: holdfast.NewID[holdfast.RequestID](), instance: r.URL.EscapedPath(), writer: answer}
	r = r.WithContext(withExchange(r.Context(), x))
	x.request = r
	h := w.Header()
	h.Set("X-Request-Id", x.id.String())
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	defer x.logged(answer, time.Now())
	defer x.recover(answer)

	x.identify()
	if err := x.limit(); err != nil {
		x.fail(err)
		return
	}
	s.route(x)
}
