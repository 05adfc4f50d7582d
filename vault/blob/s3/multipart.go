package s3

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"
)

const partsAtOnce = 4

// putParts uploads in parts; the condition is on completing them. What a killed
// process leaves is invisible, but costs space: Sweep removes it. An upload that
// was ended meanwhile is errUploadGone.
func (s *Storage) putParts(ctx context.Context, u *upload) (version string, err error) {
	var id string
	err = s.retry(ctx, "begin upload of "+u.name, func(ctx context.Context, _ *attempt) (err error) {
		id, err = s.client.NewMultipartUpload(ctx, s.config.Bucket, u.key, u.options)
		return err
	})
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.abort(ctx, u.name, u.key, id))
		}
	}()
	parts, err := s.uploadParts(ctx, u, id)
	if err != nil {
		return "", err
	}
	var o minio.PutObjectOptions
	o.SetMatchETagExcept("*")
	err = s.retry(ctx, "put "+u.name, func(ctx context.Context, _ *attempt) error {
		info, err := s.client.CompleteMultipartUpload(ctx, s.config.Bucket, u.key, id, parts, o)
		version = info.VersionID
		return gone(err)
	})
	return version, err
}

func (s *Storage) uploadParts(ctx context.Context, u *upload, id string) ([]minio.CompletePart, error) {
	size := s.config.Part
	parts := make([]minio.CompletePart, (len(u.data)+size-1)/size)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(partsAtOnce)
	for i := range parts {
		group.Go(func() error {
			data := u.data[i*size : min((i+1)*size, len(u.data))]
			o := minio.PutObjectPartOptions{Sha256Hex: sha256Hex(data), DisableContentSha256: true}
			if u.options.Mode != "" {
				o.Md5Base64 = md5Base64(data)
			}
			return s.retry(ctx, "put part of "+u.name, func(ctx context.Context, _ *attempt) error {
				done, err := s.client.PutObjectPart(ctx, s.config.Bucket, u.key, id, i+1, bytes.NewReader(data), int64(len(data)), o)
				parts[i] = minio.CompletePart{PartNumber: i + 1, ETag: done.ETag}
				return gone(err)
			})
		})
	}
	return parts, group.Wait()
}

// gone tells an upload that is not there any more, or has lost parts that it had:
// completed by a lost request, or swept by somebody whose clock is wrong.
func gone(err error) error {
	if code := minio.ToErrorResponse(err).Code; code == minio.NoSuchUpload || code == minio.InvalidPart {
		return errUploadGone
	}
	return err
}

// abort frees the parts, though the caller's context may have ended.
func (s *Storage) abort(ctx context.Context, name, key, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := s.retry(ctx, "abort upload of "+name, func(ctx context.Context, _ *attempt) error {
		err := s.client.AbortMultipartUpload(ctx, s.config.Bucket, key, id)
		if minio.ToErrorResponse(err).Code == minio.NoSuchUpload {
			return nil
		}
		return err
	})
	return err
}
