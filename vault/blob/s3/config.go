package s3

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"time"
)

const (
	defaultAttempts = 8
	defaultStall    = 2 * time.Minute
	defaultPart     = 16 << 20
	defaultSingle   = 64 << 20
	minPart         = 5 << 20 // S3's own limit, for all parts but the last

	maxPrefix = 512 // bytes; with blob.MaxName well below S3's 1024 for a key
)

// Config says where a bucket is and how to speak to it. Zero numbers take the
// defaults.
type Config struct {
	Endpoint  string // "https://host[:port]"; http:// sends sealed data and signed requests in the clear
	Region    string // default us-east-1
	Bucket    string
	Prefix    string // of every key, such as "holdfast/site-a"; may be empty
	AccessKey string
	SecretKey Secret
	PathStyle bool   // https://host/bucket instead of https://bucket.host
	CA        []byte // PEM; when given, only these authorities are trusted

	// Versions says that the bucket keeps versions, so that a delete has to
	// name them. A Lock implies it.
	Versions bool
	// Lock, if not nil, keeps blobs from being deleted by anyone for a time.
	Lock *Lock

	Attempts int           // of a request that may be tried again; default 8
	Stall    time.Duration // without a byte moving, after which an attempt is given up; default 2 min
	Single   int           // bytes; the largest blob that goes in one request, default 64 MiB
	Part     int           // bytes of a part of larger ones, at least 5 MiB; default 16 MiB
}

// LogValue implements slog.LogValuer: all but the keys.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("endpoint", c.Endpoint), slog.String("region", c.Region), slog.String("bucket", c.Bucket),
		slog.String("prefix", c.Prefix), slog.Bool("lock", c.Lock != nil))
}

// A bucket's name is a part of the host's name, and must not lead elsewhere.
var (
	bucketRule = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	prefixRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$`)
)

// filled has the defaults for what is zero.
func (c Config) filled() Config {
	for _, d := range []struct {
		at *int
		to int
	}{{&c.Attempts, defaultAttempts}, {&c.Single, defaultSingle}, {&c.Part, defaultPart}} {
		if *d.at == 0 {
			*d.at = d.to
		}
	}
	if c.Stall == 0 {
		c.Stall = defaultStall
	}
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	c.Versions = c.Versions || c.Lock != nil
	return c
}

// check returns the endpoint's URL. No error holds a key.
func (c Config) check() (*url.URL, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" ||
		u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the endpoint must be https://host[:port]") // not quoted: it may hold a password
	}
	switch {
	case !bucketRule.MatchString(c.Bucket):
		return nil, fmt.Errorf("%q is no name of a bucket", c.Bucket)
	case c.Prefix != "" && (len(c.Prefix) > maxPrefix || !prefixRule.MatchString(c.Prefix)):
		return nil, fmt.Errorf("%q is no prefix of names", c.Prefix)
	case c.AccessKey == "" || c.SecretKey.empty():
		return nil, errors.New("an access key and a secret key are needed")
	case c.Attempts < 1 || c.Stall < 0 || c.Single < minPart || c.Part < minPart:
		return nil, fmt.Errorf("attempts must be 1 or more, parts and single requests %d bytes or more", minPart)
	}
	return u, c.Lock.check()
}

func (c Config) tls() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(c.CA) > 0 {
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(c.CA) {
			return nil, errors.New("the CA holds no certificate in PEM")
		}
	}
	return t, nil
}
