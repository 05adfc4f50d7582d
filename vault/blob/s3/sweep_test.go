package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/blob/s3"
	"holdfast/vault/blob/s3/s3test"
	"holdfast/vault/check"
	"holdfast/vault/keys"
)

// life makes a vault, or opens it, and backs a disk up.
type life struct {
	master  keys.MasterKey
	account keys.AccountKey
	ring    keys.Ring
	disk    []byte
}

func (l life) run(ctx context.Context, st blob.Storage, session string) (*vault.Vault, error) {
	v, err := vault.Open(ctx, st, l.ring)
	if errors.Is(err, vault.ErrNoVault) {
		v, err = vault.Init(ctx, st, vault.Config{
			Account: "acc-1", Ring: l.ring, WrappedAccount: l.master.WrapAccount("acc-1", l.account), MasterCheck: l.master.Check(),
			WrappedRing: l.account.WrapRing("acc-1", l.ring), ChunkSize: 4 << 10, PackSize: 128 << 10,
		})
	}
	if err != nil {
		return nil, err
	}
	return v, v.Write(ctx, session, func(ctx context.Context, s *vault.Session) error {
		im, err := s.WriteImage(ctx, vault.ImageInput{
			Name: "disk0", Size: int64(len(l.disk)), Point: "b1", Read: bytes.NewReader(l.disk), Ranges: extents([]vault.Range{{Length: int64(len(l.disk))}}),
		})
		if err != nil {
			return err
		}
		_, err = s.Commit(ctx, vault.Manifest{Backup: "b1", CreatedAt: time.Unix(1, 0), Images: []vault.Image{im}})
		return err
	})
}

// The network dies at every single request of a vault's first backup, before it
// reaches the server or after, or answers nothing but 503 from there on. What is
// left is sound, and the next writer completes it.
func TestDeathAtEveryRequest(t *testing.T) {
	server := s3test.Fake(t)
	l := life{keys.NewMasterKey(), keys.NewAccountKey(), keys.NewRing(), noise(300<<10, 3)}
	whole, proxy := behind(t, server, "whole", nil)
	proxy.Handle(nil)
	if _, err := l.run(t.Context(), whole, "s-0"); err != nil {
		t.Fatal(err)
	}
	requests := int32(len(proxy.Seen()))
	if requests < 10 {
		t.Fatalf("%d requests", requests)
	}
	for kind, die := range map[string]handler{
		"before": func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) },
		"after":  lose,
		"storm": func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			s3test.Refuse(w, r, http.StatusServiceUnavailable, "SlowDown")
		},
	} {
		for at := int32(1); at <= requests; at++ {
			name := fmt.Sprintf("%s-%d", kind, at)
			st, proxy := behind(t, server, name, func(c *s3.Config) { c.Attempts = 1 })
			var n atomic.Int32
			proxy.Handle(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				switch i := n.Add(1); {
				case i < at:
					pass.ServeHTTP(w, r)
				case i == at:
					die(w, r, pass)
				default:
					panic(http.ErrAbortHandler)
				}
			})
			if _, err := l.run(t.Context(), st, "s-1"); err == nil && at < requests-2 { // the last tidy up
				t.Errorf("%s: a backup through a dead network", name)
			}
			proxy.Handle(nil)
			l.recovers(t, name, open(t, withEndpoint(t, server, name)))
		}
	}
}

func (l life) recovers(t *testing.T, name string, st *s3.Storage) {
	t.Helper()
	if v, err := vault.Open(t.Context(), st, l.ring); err == nil {
		if report, err := check.Run(t.Context(), v, check.Options{ReadData: true}); err != nil || !report.OK {
			t.Fatalf("%s: check after the death: %+v, %v", name, report, err)
		}
	} else if !errors.Is(err, vault.ErrNoVault) {
		t.Fatalf("%s: open after the death: %v", name, err)
	}
	v, err := l.run(t.Context(), st, "s-2")
	if err != nil {
		t.Fatalf("%s: the next writer: %v", name, err)
	}
	if report, err := check.Run(t.Context(), v, check.Options{ReadData: true}); err != nil || !report.OK || report.Backups != 1 {
		t.Fatalf("%s: check: %+v, %v", name, report, err)
	}
	if !bytes.Equal(restore(t, v, "b1", len(l.disk)), l.disk) {
		t.Fatalf("%s: restored bytes differ", name)
	}
}
