package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// maxAnswer bounds what is read of an answer that is no blob: a page of a list
// holds 1000 names.
const maxAnswer = 8 << 20

var (
	errStalled  = errors.New("nothing moved for too long")
	errAnswer   = errors.New("the server's answer is larger than any")
	errRedirect = errors.New("the server sends us elsewhere; that is refused")
)

// attempt is what one attempt tells the transport by its context, and learns
// from it. It belongs to one request at a time.
type attempt struct {
	blob       bool          // the answer is a blob, whose reader bounds it
	retention  bool          // the answer is a lock's date, in one of two spellings
	pages      int           // requests of a list since it last advanced
	retryAfter time.Duration // what the server asked for
}

type attemptKey struct{}

func withAttempt(ctx context.Context, a *attempt) context.Context {
	return context.WithValue(ctx, attemptKey{}, a)
}

// guard stands between the library and the network: it gives up requests that
// do not move, bounds answers, and refuses to be sent elsewhere.
type guard struct {
	base  http.RoundTripper
	stall time.Duration
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	a, _ := req.Context().Value(attemptKey{}).(*attempt)
	if a == nil {
		a = &attempt{}
	}
	if a.pages++; a.pages > maxIdlePages {
		return nil, fmt.Errorf("%w: the list does not advance", errProtocol)
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	w := &watch{timer: time.AfterFunc(g.stall, func() { cancel(errStalled) }), stall: g.stall, cancel: cancel}
	req = req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &watched{body: req.Body, watch: w}
	}
	resp, err := g.base.RoundTrip(req)
	if err != nil {
		w.end()
		if errors.Is(context.Cause(ctx), errStalled) {
			err = errStalled
		}
		return nil, err
	}
	limit := int64(maxAnswer)
	if a.blob && resp.StatusCode < 300 {
		limit = -1
	}
	a.retryAfter = retryAfter(resp.Header.Get("Retry-After"))
	resp.Body = &watched{body: resp.Body, watch: w, answer: true, limited: limit >= 0, left: limit}
	if resp.StatusCode/100 == 3 && resp.StatusCode != http.StatusNotModified {
		_ = resp.Body.Close() // nothing of it is used
		err := fmt.Errorf("%w: status %d", errRedirect, resp.StatusCode)
		if region := resp.Header.Get("X-Amz-Bucket-Region"); region != "" {
			err = fmt.Errorf("%w; it says that the bucket is in the region %q", err, printable(region))
		}
		return nil, err
	}
	if a.retention {
		err = respell(resp)
	}
	return resp, err
}

// respell lets the library read a lock's date from a server (versitygw) that
// names it by another element than S3's.
func respell(resp *http.Response) error {
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		text = bytes.ReplaceAll(text, []byte("ObjectLockRetention>"), []byte("Retention>"))
		resp.ContentLength = int64(len(text))
	}
	err = errors.Join(err, resp.Body.Close())
	resp.Body = io.NopCloser(bytes.NewReader(text))
	return err
}

// retryAfter reads seconds; a date would need the server's clock.
func retryAfter(s string) time.Duration {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

// watch ends a request after a time without a touch.
type watch struct {
	timer  *time.Timer
	stall  time.Duration
	cancel context.CancelCauseFunc
}

func (w *watch) touch() { w.timer.Reset(w.stall) }

func (w *watch) end() {
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// watched is a body, of a request or an answer, whose reads keep the watch content.
type watched struct {
	body    io.ReadCloser
	watch   *watch
	answer  bool
	limited bool
	left    int64
}

func (b *watched) Read(p []byte) (int, error) {
	if b.limited && int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.body.Read(p)
	if n > 0 {
		b.watch.touch()
	}
	if b.limited {
		if b.left -= int64(n); b.left < 0 {
			return 0, errAnswer
		}
	}
	return n, err
}

func (b *watched) Close() error {
	err := b.body.Close()
	if b.answer {
		b.watch.end()
	}
	return err
}
