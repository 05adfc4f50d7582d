package s3

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"holdfast/vault/blob"
)

var _ blob.Sweeper = (*Storage)(nil)

const (
	// An upload in parts is ended when it is older than this, by the server's time
	// of its beginning and our clock. A wrong clock costs a living writer its
	// parts, never a blob: it begins anew.
	leftoverAge = 24 * time.Hour
	uploadsPage = 1000
	maxUploads  = 1 << 16 // of one sweep; the next takes the others
)

// Sweep implements blob.Sweeper: it ends the uploads in parts below the prefix
// that killed writers have left, which no list of blobs shows. Where the server
// or the keys' rights do not allow that, it is no error: a lifecycle rule of the
// bucket (AbortIncompleteMultipartUpload) does the same.
func (s *Storage) Sweep(ctx context.Context) (int, error) {
	old, err := s.leftovers(ctx, time.Now().Add(-leftoverAge))
	if e, ok := err.(*Error); ok && (e.Status == http.StatusNotImplemented || e.Status == http.StatusForbidden) { //nolint:errorlint // retry's own
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n := 0
	for _, u := range old {
		if err := s.abort(ctx, u.name, u.key, u.id); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

type leftover struct{ name, key, id string }

func (s *Storage) leftovers(ctx context.Context, before time.Time) (old []leftover, err error) {
	var key, id string
	for range maxUploads / uploadsPage {
		var page minio.ListMultipartUploadsResult
		err := s.retry(ctx, "list uploads", func(ctx context.Context, _ *attempt) (err error) {
			page, err = s.client.ListMultipartUploads(ctx, s.config.Bucket, s.prefix, key, id, "", uploadsPage)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, u := range page.Uploads {
			if !strings.HasPrefix(u.Key, s.prefix) {
				return nil, fmt.Errorf("%w: %q in the list of uploads below %q", errProtocol, printable(u.Key), s.prefix)
			}
			name := strings.TrimPrefix(u.Key, s.prefix)
			if blob.CheckName(name) == nil && !u.Initiated.IsZero() && u.Initiated.Before(before) {
				old = append(old, leftover{name, u.Key, u.UploadID})
			}
		}
		if !page.IsTruncated {
			return old, nil
		}
		if page.NextKeyMarker < key || page.NextKeyMarker == key && page.NextUploadIDMarker == id {
			return nil, fmt.Errorf("%w: the list of uploads does not advance", errProtocol)
		}
		key, id = page.NextKeyMarker, page.NextUploadIDMarker
	}
	return old, nil
}
