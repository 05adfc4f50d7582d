package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"

	"github.com/minio/minio-go/v7"

	"holdfast/vault/blob"
)

// readsInFlight hides latencies of up to 50 ms behind the decoding of what came
// before, at 1 MiB a read.
const readsInFlight = 16

// InFlight implements blob.Distant.
func (s *Storage) InFlight() int { return readsInFlight }

var errUnexpectedEnd = io.ErrUnexpectedEOF

// Get implements blob.Storage.
func (s *Storage) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	key, err := s.key(ctx, name)
	if err != nil {
		return nil, err
	}
	var data []byte
	err = s.read(ctx, "get "+name, key, func(ctx context.Context, a *attempt, version string) error {
		a.blob = true
		body, info, _, err := s.open(ctx, key, minio.GetObjectOptions{VersionID: version})
		if err != nil {
			return err
		}
		defer body.Close()
		switch {
		case info.Size < 0:
			return fmt.Errorf("%w: no length", errProtocol)
		case info.Size > limit:
			return blob.ErrTooLarge
		}
		data = make([]byte, info.Size)
		return full(body, data)
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

// open asks for an object. An answer of success that has no object, such as 202,
// comes from the library without a body and without an error.
func (s *Storage) open(ctx context.Context, key string, o minio.GetObjectOptions) (io.ReadCloser, minio.ObjectInfo, http.Header, error) {
	body, info, header, err := s.client.GetObject(ctx, s.config.Bucket, key, o)
	if err == nil && body == nil {
		err = fmt.Errorf("%w: success, and no object", errProtocol)
	}
	return body, info, header, err
}

// full fills p, and says a short body in words that do not mean the blob's end.
func full(r io.Reader, p []byte) error {
	if n, err := io.ReadFull(r, p); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("the answer broke off after %d of %d bytes", n, len(p))
		}
		return err
	}
	return nil
}

// ReadAt implements blob.Storage by one ranged request.
func (s *Storage) ReadAt(ctx context.Context, name string, p []byte, off int64) error {
	key, err := s.key(ctx, name)
	if err != nil {
		return err
	}
	if off < 0 || len(p) == 0 || off > math.MaxInt64-int64(len(p)) {
		return s.readNothing(ctx, name, p, off)
	}
	return s.read(ctx, "read "+name, key, func(ctx context.Context, a *attempt, version string) error {
		a.blob = true
		o := minio.GetObjectOptions{VersionID: version}
		if err := o.SetRange(off, off+int64(len(p))-1); err != nil {
			return err
		}
		body, info, header, err := s.open(ctx, key, o)
		if minio.ToErrorResponse(err).StatusCode == http.StatusRequestedRangeNotSatisfiable {
			return errUnexpectedEnd
		}
		if err != nil {
			return err
		}
		defer body.Close()
		if err := checkRange(header, info.Size, off, int64(len(p))); err != nil {
			return err
		}
		return full(body, p)
	})
}

// readNothing answers what needs the blob's size, but no byte of it.
func (s *Storage) readNothing(ctx context.Context, name string, p []byte, off int64) error {
	info, err := s.Stat(ctx, name)
	if err != nil {
		return err
	}
	if off < 0 || len(p) > 0 || off > info.Size {
		return fmt.Errorf("read %s: %w", name, errUnexpectedEnd)
	}
	return nil
}

// checkRange holds the server to the range that was asked for. An answer
// without Content-Range is the whole blob.
func checkRange(h http.Header, length, off, n int64) error {
	text := h.Get("Content-Range")
	if text == "" {
		switch {
		case off == 0 && length >= n:
			return nil
		case length >= 0 && (off > length || n > length-off):
			return errUnexpectedEnd
		}
		return fmt.Errorf("%w: a whole blob instead of a range", errProtocol)
	}
	var first, last, size int64
	if k, err := fmt.Sscanf(text, "bytes %d-%d/%d", &first, &last, &size); err != nil || k != 3 || first != off || last < first || size <= last {
		return fmt.Errorf("%w: content range %q at %d", errProtocol, printable(text), off)
	}
	switch {
	case off+n > size:
		return errUnexpectedEnd
	case last != off+n-1 || length != n:
		return fmt.Errorf("%w: content range %q, length %d", errProtocol, printable(text), length)
	}
	return nil
}

// Stat implements blob.Storage.
func (s *Storage) Stat(ctx context.Context, name string) (blob.Info, error) {
	key, err := s.key(ctx, name)
	if err != nil {
		return blob.Info{}, err
	}
	var size int64
	err = s.read(ctx, "stat "+name, key, func(ctx context.Context, a *attempt, version string) error {
		info, err := s.client.StatObject(ctx, s.config.Bucket, key, minio.StatObjectOptions{VersionID: version})
		if err != nil && absent(judge(err).err) {
			// An answer without a body cannot tell a missing blob from a missing
			// bucket, and a vault must never take the one for the other.
			a.blob = true
			var body io.ReadCloser
			body, info, _, err = s.open(ctx, key, minio.GetObjectOptions{VersionID: version})
			if err == nil {
				err = body.Close()
			}
		}
		if err == nil && info.Size < 0 {
			err = fmt.Errorf("%w: no length", errProtocol)
		}
		size = info.Size
		return err
	})
	if err != nil {
		return blob.Info{}, err
	}
	return blob.Info{Name: name, Size: size}, nil
}

// read retries do with the version to read: "" on a bucket without versions. A
// version remembered from before may have been deleted by another process; then
// it is looked up once more.
func (s *Storage) read(ctx context.Context, op, key string, do func(ctx context.Context, a *attempt, version string) error) error {
	if s.versions == nil {
		return s.retry(ctx, op, func(ctx context.Context, a *attempt) error { return do(ctx, a, "") })
	}
	version, remembered := s.versions.get(key)
	for {
		if !remembered {
			v, err := s.oldest(ctx, key)
			if err != nil {
				return err
			}
			version = v
		}
		err := s.retry(ctx, op, func(ctx context.Context, a *attempt) error { return do(ctx, a, version) })
		if !remembered || !absent(err) {
			return err
		}
		s.versions.forget(key)
		remembered = false
	}
}
