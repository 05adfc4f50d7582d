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
	"sync"

	"holdfast"
	"holdfast/store"
	"holdfast/vault/blob"
	"holdfast/vault/blob/limit"
	"holdfast/vault/blob/local"
	"holdfast/vault/blob/s3"
)

// firstPlace is the name of the site that backups are made at.
const firstPlace = "local"

// site is a place where vaults lie.
type site struct {
	name   string // to the operator, and in the database
	where  string // a directory or an s3:// URL
	first  bool
	s3     s3Config
	rates  limit.Rates
	bucket func() (*s3.Storage, error) // when it is on S3
	log    *slog.Logger

	mu     sync.Mutex
	proved bool
}

// sitesOf are all sites, the first one first.
func sitesOf(c config, log *slog.Logger) []*site {
	var sites []*site
	for i, p := range append([]copyConfig{{firstPlace, c.Site, c.S3}}, c.Copies...) {
		sites = append(sites, &site{
			name: p.Name, where: p.Site, first: i == 0, s3: p.S3, log: log,
			rates:  limit.Rates{Bytes: c.Vault.BytesPerSecond, Requests: c.Vault.RequestsPerSecond},
			bucket: sync.OnceValues(func() (*s3.Storage, error) { return p.S3.open(p.Site) }),
		})
	}
	return sites
}

// site finds one by its name.
func (in *installation) site(name string) (*site, error) {
	for _, s := range in.sites {
		if s.name == name {
			return s, nil
		}
	}
	return nil, holdfast.E(holdfast.CodeNotFound, "There is no place "+name+" in the configuration.")
}

// vault names where an account's vault lies.
func (s *site) vault(account holdfast.AccountID) string {
	if onS3(s.where) {
		return strings.TrimSuffix(s.where, "/") + "/" + string(account)
	}
	return filepath.Join(s.where, string(account))
}

// storage opens the place of an account's vault, slowed down as configured.
func (s *site) storage(account holdfast.AccountID) (blob.Storage, error) {
	st, err := s.unlimited(account)
	if err != nil || s.rates.Bytes <= 0 && s.rates.Requests <= 0 {
		return st, err
	}
	return limit.NewRates(st, s.rates), nil
}

func (s *site) unlimited(account holdfast.AccountID) (blob.Storage, error) {
	if onS3(s.where) {
		bucket, err := s.bucket()
		if err != nil {
			return nil, err
		}
		return bucket.Under(string(account))
	}
	if !s.mounted() {
		return nil, fmt.Errorf("site: %s is not there", s.where)
	}
	st, err := local.New(s.vault(account))
	if err != nil {
		return nil, fmt.Errorf("site: %w", err)
	}
	return st, nil
}

// mounted reports whether the site's directory can be used. Those of copies are
// made by the operator: one that is not there is a disk that is not mounted.
func (s *site) mounted() bool {
	if s.first || onS3(s.where) {
		return true
	}
	_, err := os.Stat(s.where)
	return err == nil
}

// none reports that an account has certainly no vault here, without making its
// place: a directory that is not there holds none. Of a bucket, opening the vault
// tells.
func (s *site) none(account holdfast.AccountID) bool {
	if onS3(s.where) {
		return false
	}
	_, err := os.Stat(s.vault(account))
	return errors.Is(err, fs.ErrNotExist)
}

// meta is the name of the fact that the bucket was proved suitable.
func (s *site) meta() string {
	if s.first {
		return metaSite
	}
	return metaSite + ":" + s.name
}

// prove probes a bucket once, when the service first meets it: one that replaces
// what is there, or shows it late, would lose backups. Later starts do not wait
// for it.
func (s *site) prove(ctx context.Context, st *store.Store) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proved || !onS3(s.where) {
		return nil
	}
	bucket, err := s.bucket()
	if err != nil {
		return err
	}
	place := s.s3.Endpoint + " " + s.where
	if s.s3.Lock > 0 {
		place += " locked for " + s.s3.LockMode // how long, needs no proof
	}
	known, err := st.Meta(ctx, s.meta())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("site: %w", err)
	}
	if string(known) != place {
		if err := bucket.Probe(ctx); err != nil {
			return fmt.Errorf("site %s: %w", s.where, err)
		}
		s.log.InfoContext(ctx, "the site is suitable for vaults", "site", s.where)
		if err := st.Tx(ctx, func(tx *store.Tx) error { return tx.PutMeta(ctx, s.meta(), []byte(place)) }); err != nil {
			return err
		}
	}
	s.proved = true
	return nil
}
