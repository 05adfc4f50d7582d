// Package s3 keeps blobs in a bucket of any S3 that creates conditionally.
package s3

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"holdfast/vault/blob"
)

// Storage is a blob.Storage below a prefix of a bucket. Any number of processes
// may use the same place. Errors that are no sentinel of package blob are *Error
// and know whether trying again may help; a request was then already tried
// Config.Attempts times.
type Storage struct {
	client *minio.Core
	config Config
	prefix string // "" or ends with a slash

	multipart *atomic.Bool // Probe saw that the server completes uploads conditionally
	versions  *versions    // nil when the bucket keeps none
}

// ownRetries stops the library from sleeping after the only attempt that it is
// left. Nobody else in the program uses it.
var ownRetries = sync.OnceFunc(func() { minio.DefaultRetryUnit = time.Nanosecond })

// New prepares a storage; it does not speak to the server. See Probe.
func New(c Config) (*Storage, error) {
	c = c.filled()
	u, err := c.check()
	if err != nil {
		return nil, fmt.Errorf("s3: %w", err)
	}
	transport, err := newTransport(c)
	if err != nil {
		return nil, fmt.Errorf("s3: %w", err)
	}
	ownRetries()
	lookup := minio.BucketLookupDNS
	if c.PathStyle {
		lookup = minio.BucketLookupPath
	}
	client, err := minio.NewCore(u.Host, &minio.Options{
		Creds:        credentials.NewStaticV4(c.AccessKey, *c.SecretKey.value, ""),
		Secure:       u.Scheme == "https",
		Region:       c.Region, // given, so that no request asks the server for it
		BucketLookup: lookup,
		Transport:    transport,
		MaxRetries:   1, // retries are ours: see retry
	})
	if err != nil {
		return nil, fmt.Errorf("s3: %w", err)
	}
	c.SecretKey = Secret{} // the client has it
	s := &Storage{client: client, config: c, multipart: &atomic.Bool{}}
	if c.Prefix != "" {
		s.prefix = c.Prefix + "/"
	}
	if c.Versions {
		s.versions = newVersions()
	}
	return s, nil
}

// Under returns the storage of a prefix below this one's, over the same
// connections and with what a Probe found.
func (s *Storage) Under(prefix string) (*Storage, error) {
	if err := blob.CheckName(prefix); err != nil {
		return nil, err
	}
	below := *s
	below.prefix = s.prefix + prefix + "/"
	if s.versions != nil {
		below.versions = newVersions()
	}
	return &below, nil
}

// String names the place, without the keys.
func (s *Storage) String() string { return "s3://" + s.config.Bucket + "/" + s.prefix }

func (s *Storage) key(ctx context.Context, name string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return s.prefix + name, blob.CheckName(name)
}

func newTransport(c Config) (http.RoundTripper, error) {
	t, err := c.tls()
	if err != nil {
		return nil, err
	}
	return &guard{stall: c.Stall, base: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:        t,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        time.Minute,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // a length is that of the bytes sent
		WriteBufferSize:        128 << 10,
		ReadBufferSize:         128 << 10,
	}}, nil
}
