package s3test

import (
	"net/http/httptest"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// Fake starts gofakes3 in this process. It does not complete uploads in parts
// conditionally, which a probe has to find.
func Fake(tb testing.TB) *Server {
	tb.Helper()
	server := httptest.NewServer(gofakes3.New(s3mem.New()).Server())
	tb.Cleanup(server.Close)
	return &Server{Endpoint: server.URL, log: &syncBuffer{}}
}
