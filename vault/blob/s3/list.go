package s3

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"holdfast/vault/blob"
)

// maxIdlePages is how many answers in a row may bring a list no further.
const maxIdlePages = 8

// List implements blob.Storage, in the order of names. A list that breaks off is
// taken up where it was.
func (s *Storage) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(blob.Info{}, err)
			return
		}
		w := &walk{s: s, prefix: s.prefix + prefix, yield: yield}
		for !w.done {
			err := s.retry(ctx, "list "+prefix, w.resume)
			if err != nil {
				yield(blob.Info{}, err)
				return
			}
		}
	}
}

// walk is one List.
type walk struct {
	s      *Storage
	prefix string
	yield  func(blob.Info, error) bool
	after  string // the last key that was yielded
	done   bool
}

// resume lists from w.after on. It returns nil, without being done, when the list
// broke off after it had advanced: attempts are counted from there.
func (w *walk) resume(ctx context.Context, a *attempt) error {
	var held minio.ObjectInfo // its older versions may follow
	advanced := false
	emit := func() bool {
		if held.Key == "" {
			return true
		}
		advanced, w.after = true, held.Key
		return w.emit(held)
	}
	for o := range w.s.client.ListObjectsIter(ctx, w.s.config.Bucket, minio.ListObjectsOptions{
		Prefix: w.prefix, Recursive: true, StartAfter: w.after, WithVersions: w.s.versions != nil, FetchOwner: new(bool),
	}) {
		if o.Err != nil {
			if advanced && judge(o.Err).again {
				return pause(ctx, wait(1, a.retryAfter))
			}
			return o.Err
		}
		if err := w.check(o, held.Key); err != nil {
			return err
		}
		// Some servers take the marker of a list of versions in.
		if o.IsDeleteMarker || o.Key == w.after {
			continue
		}
		a.pages = 0
		if o.Key != held.Key && !emit() {
			w.done = true
			return nil
		}
		held = o
	}
	if err := ctx.Err(); err != nil { // the library ends a list quietly then
		return err
	}
	emit()
	w.done = true
	return nil
}

// check refuses an answer that leads elsewhere or round in a circle.
func (w *walk) check(o minio.ObjectInfo, held string) error {
	again := w.s.versions != nil && (o.Key == held || held == "" && o.Key == w.after)
	switch {
	case !strings.HasPrefix(o.Key, w.prefix) || o.Size < 0:
		return fmt.Errorf("%w: %q of %d bytes in the list of %q", errProtocol, printable(o.Key), o.Size, w.prefix)
	case o.IsDeleteMarker || again:
		return nil
	case o.Key <= held || o.Key <= w.after:
		return fmt.Errorf("%w: %q comes after %q in a list", errProtocol, printable(o.Key), max(held, w.after))
	}
	return nil
}

// emit yields what is a blob: others may keep things in the bucket, too.
func (w *walk) emit(o minio.ObjectInfo) bool {
	name := strings.TrimPrefix(o.Key, w.s.prefix)
	if blob.CheckName(name) != nil {
		return true
	}
	if w.s.versions != nil {
		w.s.versions.put(o.Key, o.VersionID, time.Time{})
	}
	return w.yield(blob.Info{Name: name, Size: o.Size}, nil)
}
