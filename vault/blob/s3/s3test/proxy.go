package s3test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// Proxy stands before a server and does to its answers what Handle says.
type Proxy struct {
	URL string

	mu     sync.Mutex
	handle func(w http.ResponseWriter, r *http.Request, pass http.Handler)
	seen   []string
}

// NewProxy starts a proxy that passes everything on.
func NewProxy(tb testing.TB, s *Server) *Proxy {
	tb.Helper()
	to, err := url.Parse(s.Endpoint)
	if err != nil {
		tb.Fatal(err)
	}
	pass := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // it is signed
		},
	}
	p := &Proxy{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.seen = append(p.seen, r.Method+" "+r.URL.RequestURI())
		handle := p.handle
		p.mu.Unlock()
		if handle == nil {
			pass.ServeHTTP(w, r)
			return
		}
		handle(w, r, pass)
	}))
	tb.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// Handle sets what is done with requests from now on; nil passes them on.
func (p *Proxy) Handle(h func(w http.ResponseWriter, r *http.Request, pass http.Handler)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handle, p.seen = h, nil
}

// Seen returns the requests since the last Handle: method and URI.
func (p *Proxy) Seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.seen...)
}

// Refuse answers an error as S3 does, having read the request.
func Refuse(w http.ResponseWriter, r *http.Request, status int, code string) {
	_, _ = io.Copy(io.Discard, r.Body) // a client that is gone needs no answer
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "<Error><Code>"+code+"</Code><Message>by the proxy</Message></Error>")
}

// LoseAnswer lets the server do its work, and then breaks the connection.
func LoseAnswer(r *http.Request, pass http.Handler) {
	pass.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}
