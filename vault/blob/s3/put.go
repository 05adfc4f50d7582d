package s3

import (
	"bytes"
	"context"
	"crypto/md5" // #nosec G501 -- what S3 asks for beside a lock; the signed SHA-256 protects
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/minio/minio-go/v7"

	"holdfast/vault/blob"
)

// tagName is the metadata that tells our own write from another's.
const tagName = "Holdfast-Put"

var errUploadGone = errors.New("the upload is not there any more")

// upload is one call of PutNew.
type upload struct {
	name, key string
	data      []byte
	tag       string // random; stored with the blob
	options   minio.PutObjectOptions
}

// PutNew implements blob.Storage by If-None-Match. The server checks the bytes
// against the SHA-256 that the request is signed with. Blobs above Config.Single
// go in parts when Probe saw, in this process, that the server completes uploads
// conditionally; else in one request, too, which S3 bounds at 5 GiB.
func (s *Storage) PutNew(ctx context.Context, name string, data []byte) error {
	key, err := s.key(ctx, name)
	if err != nil {
		return err
	}
	return s.put(ctx, s.newUpload(name, key, data))
}

// PutRetained implements blob.Retainer. Without Config.Lock, and for names that
// are never locked, it is an error.
func (s *Storage) PutRetained(ctx context.Context, name string, data []byte, until time.Time) error {
	key, err := s.key(ctx, name)
	if err != nil {
		return err
	}
	if s.config.Lock == nil || !lockable(name) {
		return neverLocked(name)
	}
	u := s.newUpload(name, key, data)
	u.options.RetainUntilDate = roundUp(until)
	return s.put(ctx, u)
}

func (s *Storage) put(ctx context.Context, u *upload) error {
	// A delete marker frees a name for the server, not for us.
	if s.versions != nil {
		if _, err := s.oldest(ctx, u.key); err == nil {
			return fmt.Errorf("put %s: %w", u.name, blob.ErrExists)
		} else if !absent(err) {
			return err
		}
	}
	for n := 1; ; n++ {
		var version string
		var err error
		if len(u.data) > s.config.Single && s.multipart.Load() {
			version, err = s.putParts(ctx, u)
		} else {
			version, err = s.putWhole(ctx, u)
		}
		if err == nil && s.versions != nil {
			s.versions.put(u.key, version, u.options.RetainUntilDate)
		}
		if err == nil {
			return nil
		}
		err = s.settle(ctx, u, err)
		if !errors.Is(err, errUploadGone) || n >= s.config.Attempts || ctx.Err() != nil {
			return err
		}
	}
}

func (s *Storage) newUpload(name, key string, data []byte) *upload {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails
	u := &upload{name: name, key: key, data: data, tag: hex.EncodeToString(raw[:])}
	u.options = minio.PutObjectOptions{
		UserMetadata:         map[string]string{tagName: u.tag},
		DisableContentSha256: true, // of the stream; ours is signed
	}
	if l := s.config.Lock; l != nil && lockable(name) {
		u.options.Mode, u.options.RetainUntilDate = l.mode(), l.generous(time.Now().Add(l.For))
	}
	return u
}

func (s *Storage) putWhole(ctx context.Context, u *upload) (version string, err error) {
	u.options.SetMatchETagExcept("*")
	sum := sha256Hex(u.data)
	md := ""
	if s.config.Lock != nil {
		md = md5Base64(u.data)
	}
	err = s.retry(ctx, "put "+u.name, func(ctx context.Context, _ *attempt) error {
		info, err := s.client.PutObject(ctx, s.config.Bucket, u.key, bytes.NewReader(u.data), int64(len(u.data)), md, sum, u.options)
		version = info.VersionID
		return err
	})
	return version, err
}

// settle looks whether a write that seems to have failed was ours after all: an
// answer can be lost, and what tries again then finds the name taken.
func (s *Storage) settle(ctx context.Context, u *upload, err error) error {
	if !errors.Is(err, blob.ErrExists) && !errors.Is(err, blob.ErrNoSpace) && !errors.Is(err, errUploadGone) {
		return err
	}
	mine, serr := s.holds(ctx, u)
	switch {
	case serr != nil:
		return serr // and not err: as a sentinel it would promise that nothing was written
	case mine:
		return nil
	case errors.Is(err, errUploadGone):
		return &Error{Op: "put " + u.name, Attempts: 1, Err: errUploadGone, again: true}
	}
	return err
}

// holds reads back whether the blob is the one of this upload. The tag decides;
// on a server that drops metadata, equal bytes do.
func (s *Storage) holds(ctx context.Context, u *upload) (mine bool, err error) {
	err = s.read(ctx, "settle put "+u.name, u.key, func(ctx context.Context, a *attempt, version string) error {
		a.blob = true
		body, info, _, err := s.open(ctx, u.key, minio.GetObjectOptions{VersionID: version})
		if err != nil {
			return err
		}
		defer body.Close()
		tag := info.UserMetadata[tagName]
		if tag != "" && tag != u.tag {
			mine = false
			return nil
		}
		same, err := equal(body, u.data)
		if err != nil {
			return err
		}
		if tag != "" && !same {
			return fmt.Errorf("%w: it holds other bytes than it took", errProtocol)
		}
		mine = same
		return nil
	})
	if absent(err) {
		return false, nil
	}
	return mine, err
}

// equal reads no more than one buffer beyond what differs.
func equal(r io.Reader, data []byte) (bool, error) {
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if n > len(data) || !bytes.Equal(buf[:n], data[:n]) {
			return false, nil
		}
		data = data[n:]
		if errors.Is(err, io.EOF) {
			return len(data) == 0, nil
		}
		if err != nil {
			return false, err
		}
	}
}

func sha256Hex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func md5Base64(data []byte) string {
	sum := md5.Sum(data) // #nosec G401 -- see the import
	return base64.StdEncoding.EncodeToString(sum[:])
}
