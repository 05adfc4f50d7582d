package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"holdfast"
	"holdfast/vault/blob"
	"holdfast/vault/blob/s3"
)

const (
	s3Scheme = "s3://"
	// metaSite is the fact that a bucket was proved suitable.
	metaSite = "site_proved"

	lockCompliance = "compliance"
	lockGovernance = "governance"
)

// s3Config says how to speak to the S3 of a site "s3://bucket/prefix". The keys
// are in a file or in the environment, never here.
type s3Config struct {
	Endpoint    string `koanf:"endpoint"`    // URL; "" for Amazon's of the region
	Region      string `koanf:"region"`      //
	Credentials string `koanf:"credentials"` // file of the keys; "" for the environment
	CA          string `koanf:"ca"`          // PEM file; "" for the system's authorities
	PathStyle   bool   `koanf:"path_style"`  // https://host/bucket, as most servers but Amazon's want it
	Versions    bool   `koanf:"versions"`    // the bucket keeps versions
	// Lock keeps every backup from being deleted by anyone for so long; 0: not. A
	// bucket with object lock keeps versions, too.
	Lock     time.Duration `koanf:"lock"`
	LockMode string        `koanf:"lock_mode"` // compliance, governance
}

// s3Flags are for commands that work without a configuration.
func s3Flags(f *pflag.FlagSet, c *s3Config) {
	f.StringVar(&c.Endpoint, "s3-endpoint", "", "URL of the S3 server (default Amazon's)")
	f.StringVar(&c.Region, "s3-region", "us-east-1", "region of the bucket")
	f.StringVar(&c.Credentials, "s3-credentials", "", "file of the bucket's keys (default "+s3.EnvAccessKey+" and "+s3.EnvSecretKey+")")
	f.StringVar(&c.CA, "s3-ca", "", "PEM file of the server's authority")
	f.BoolVar(&c.PathStyle, "s3-path-style", false, "name the bucket in the path")
	f.BoolVar(&c.Versions, "s3-versions", false, "the bucket keeps versions, as one with locks does")
}

// onS3 reports whether a site, or a vault, is in a bucket.
func onS3(place string) bool { return strings.HasPrefix(place, s3Scheme) }

// open prepares the bucket of a place; it does not speak to it.
func (c s3Config) open(place string) (*s3.Storage, error) {
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(place, s3Scheme), "/")
	endpoint := c.Endpoint
	if endpoint == "" {
		endpoint = "https://s3." + c.Region + ".amazonaws.com"
	}
	o := s3.Config{
		Endpoint: endpoint, Region: c.Region, Bucket: bucket, Prefix: strings.TrimSuffix(prefix, "/"),
		PathStyle: c.PathStyle, Versions: c.Versions,
	}
	if c.Lock > 0 {
		o.Lock = &s3.Lock{For: c.Lock, Governance: c.LockMode == lockGovernance}
	}
	var err error
	if o.AccessKey, o.SecretKey, err = s3.LoadKeys(c.Credentials, os.Getenv); err != nil {
		return nil, fmt.Errorf("site %s: %w", place, err)
	}
	if c.CA != "" {
		if o.CA, err = os.ReadFile(c.CA); err != nil {
			return nil, fmt.Errorf("site %s: CA: %w", place, err)
		}
	}
	st, err := s3.New(o)
	if err != nil {
		return nil, fmt.Errorf("site %s: %w", place, err)
	}
	return st, nil
}

// place is where an account's vault lies at one site.
type place struct {
	name string                       // a directory or an s3:// URL
	site *site                        // where it is
	open func() (blob.Storage, error) // slowed down as configured; makes the directory
	none func() bool                  // it is not there, though its site is; makes nothing
}

// places are all places of an account's vault: what concerns every copy, as a
// rotation or the end of a key, goes over them. The first is that of backups.
func (in *installation) places(account holdfast.AccountID) []place {
	var all []place
	for _, s := range in.sites {
		all = append(all, place{
			name: s.vault(account), site: s,
			open: func() (blob.Storage, error) { return s.storage(account) },
			none: func() bool { return s.mounted() && s.none(account) },
		})
	}
	return all
}

// storage opens the first place of an account's vault.
func (in *installation) storage(account holdfast.AccountID) (blob.Storage, error) {
	return in.sites[0].storage(account)
}

// noVault reports that an account has no vault at the first place yet.
func (in *installation) noVault(account holdfast.AccountID) bool { return in.sites[0].none(account) }
