package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"holdfast"
	"holdfast/store"
	"holdfast/vault/blob"
	"holdfast/vault/blob/limit"
	"holdfast/vault/blob/local"
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
	open func() (blob.Storage, error) // slowed down as configured; makes the directory
	none func() bool                  // there is certainly no vault, without making its place
}

// places are all places of an account's vault: what concerns every copy, as a
// rotation or the end of a key, goes over them. The first is that of backups.
func (in *installation) places(account holdfast.AccountID) []place {
	return []place{{
		name: in.vaultPlace(account),
		open: func() (blob.Storage, error) { return in.storage(account) },
		none: func() bool { return in.noVault(account) },
	}}
}

// vaultPlace names where an account's vault lies: a directory or an s3:// URL.
func (in *installation) vaultPlace(account holdfast.AccountID) string {
	if onS3(in.config.Site) {
		return strings.TrimSuffix(in.config.Site, "/") + "/" + string(account)
	}
	return filepath.Join(in.config.Site, string(account))
}

// storage opens the place of an account's vault, slowed down as configured.
func (in *installation) storage(account holdfast.AccountID) (blob.Storage, error) {
	st, err := in.unlimited(account)
	if err != nil {
		return nil, err
	}
	rates := limit.Rates{Bytes: in.config.Vault.BytesPerSecond, Requests: in.config.Vault.RequestsPerSecond}
	if rates.Bytes > 0 || rates.Requests > 0 {
		return limit.NewRates(st, rates), nil
	}
	return st, nil
}

func (in *installation) unlimited(account holdfast.AccountID) (blob.Storage, error) {
	if onS3(in.config.Site) {
		bucket, err := in.bucket()
		if err != nil {
			return nil, err
		}
		return bucket.Under(string(account))
	}
	st, err := local.New(in.vaultPlace(account))
	if err != nil {
		return nil, fmt.Errorf("site: %w", err)
	}
	return st, nil
}

// noVault reports that an account has no vault yet, without making its place: a
// directory that is not there holds none. Of a bucket, opening the vault tells.
func (in *installation) noVault(account holdfast.AccountID) bool {
	if onS3(in.config.Site) {
		return false
	}
	_, err := os.Stat(in.vaultPlace(account))
	return errors.Is(err, fs.ErrNotExist)
}

// proveSite probes a bucket once, when the service first meets it: one that
// replaces what is there, or shows it late, would lose backups. Later starts do
// not wait for it.
func (in *installation) proveSite(ctx context.Context, log *slog.Logger) error {
	if !onS3(in.config.Site) {
		return nil
	}
	bucket, err := in.bucket()
	if err != nil {
		return err
	}
	place := in.config.S3.Endpoint + " " + in.config.Site
	if in.config.S3.Lock > 0 {
		place += " locked for " + in.config.S3.LockMode // how long, needs no proof
	}
	switch known, err := in.store.Meta(ctx, metaSite); {
	case err == nil && string(known) == place:
		return nil
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("site: %w", err)
	}
	if err := bucket.Probe(ctx); err != nil {
		return fmt.Errorf("site %s: %w", in.config.Site, err)
	}
	log.InfoContext(ctx, "the site is suitable for vaults", "site", in.config.Site)
	return in.store.Tx(ctx, func(tx *store.Tx) error { return tx.PutMeta(ctx, metaSite, []byte(place)) })
}
