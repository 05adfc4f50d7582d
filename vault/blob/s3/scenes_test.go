package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/blob/mem"
	"holdfast/vault/blob/s3"
	"holdfast/vault/blob/s3/s3test"
	"holdfast/vault/check"
	"holdfast/vault/keys"
)

// story is a vault in a bucket with two backups, and what may be done to it next.
type story struct {
	ring   keys.Ring
	disks  map[string][]byte
	base   *mem.Storage // with b0 and b1
	barren *mem.Storage // b0 was deleted, and nothing collected
}

func newStory(t *testing.T) *story {
	t.Helper()
	l := life{keys.NewMasterKey(), keys.NewAccountKey(), keys.NewRing(), nil}
	first := noise(240<<10, 5)
	second := slices.Clone(first)
	copy(second[20<<10:], noise(150<<10, 6))
	third := slices.Clone(second)
	copy(third, noise(40<<10, 7))
	s := &story{ring: l.ring, disks: map[string][]byte{"b0": first, "b1": second, "b2": third}, base: mem.New()}
	v, err := vault.Init(t.Context(), s.base, vault.Config{
		Account: "acc-1", Ring: l.ring, WrappedAccount: l.master.WrapAccount("acc-1", l.account), MasterCheck: l.master.Check(),
		WrappedRing: l.account.WrapRing("acc-1", l.ring), ChunkSize: 4 << 10, PackSize: 64 << 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	for id, parent := range map[string]string{"b0": "", "b1": ""} { // of their own, so that much goes with b0
		if err := s.write(t.Context(), v, id, parent); err != nil {
			t.Fatal(err)
		}
	}
	s.barren = s.base.Clone()
	if v, err = vault.Open(t.Context(), s.barren, l.ring); err == nil {
		err = v.DeleteBackup(t.Context(), "b0")
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *story) write(ctx context.Context, v *vault.Vault, id, parent string) error {
	disk := s.disks[id]
	in := vault.ImageInput{Name: "disk0", Size: int64(len(disk)), Read: bytes.NewReader(disk), Ranges: extents([]vault.Range{{Length: int64(len(disk))}})}
	if parent != "" {
		in.Parent = &vault.Parent{Backup: parent, Image: "disk0"}
	}
	return v.Write(ctx, "s-"+id, func(ctx context.Context, ses *vault.Session) error {
		im, err := ses.WriteImage(ctx, in)
		if err == nil {
			_, err = ses.Commit(ctx, vault.Manifest{Backup: id, CreatedAt: time.Unix(1, 0), Images: []vault.Image{im}})
		}
		return err
	})
}

func (s *story) read(ctx context.Context, v *vault.Vault, id string) error {
	m, err := v.Manifest(ctx, id)
	if err != nil {
		return err
	}
	im, _ := m.Image("disk0")
	r, err := v.OpenImage(ctx, im)
	if err != nil {
		return err
	}
	out := make(memDisk, im.Size)
	if err := r.Restore(ctx, out, vault.RestoreOptions{}); err != nil {
		return err
	}
	if !bytes.Equal(out, s.disks[id]) {
		return errWrongBytes
	}
	return nil
}

var errWrongBytes = errors.New("wrong bytes were restored")

// acts are what is done, and which backups there are before and after.
func (s *story) acts() []act {
	return []act{
		{"backup", s.base, []string{"b0", "b1"}, []string{"b0", "b1", "b2"}, func(ctx context.Context, v *vault.Vault) error {
			return s.write(ctx, v, "b2", "b1")
		}},
		{"restore", s.base, []string{"b0", "b1"}, []string{"b0", "b1"}, func(ctx context.Context, v *vault.Vault) error {
			return s.read(ctx, v, "b1")
		}},
		{"delete", s.base, []string{"b0", "b1"}, []string{"b1"}, func(ctx context.Context, v *vault.Vault) error {
			return v.DeleteBackup(ctx, "b0")
		}},
		{"collect", s.barren, []string{"b1"}, []string{"b1"}, func(ctx context.Context, v *vault.Vault) error {
			p, err := v.PlanCollection(ctx, vault.CollectOptions{})
			if err == nil {
				_, err = v.Collect(ctx, p, vault.CollectOptions{Idle: time.Nanosecond})
			}
			return err
		}},
	}
}

type act struct {
	name          string
	from          *mem.Storage
	before, after []string
	do            func(context.Context, *vault.Vault) error
}

// mishaps are what happens to one request; the deadly ones to all after it, too.
var mishaps = []struct {
	name   string
	deadly bool
	do     handler
}{
	{"error", false, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		s3test.Refuse(w, r, http.StatusInternalServerError, "InternalError")
	}},
	{"forbidden", false, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		s3test.Refuse(w, r, http.StatusForbidden, "AccessDenied")
	}},
	{"reset", false, func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }},
	{"lost answer", false, lose},
	{"short write", false, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		r.Body = io.NopCloser(io.LimitReader(r.Body, r.ContentLength/2))
		pass.ServeHTTP(w, r)
	}},
	{"short answer", false, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		retell(w, r, pass, func(p []byte) []byte { return p[:len(p)/2] })
		panic(http.ErrAbortHandler)
	}},
	{"wrong bytes", false, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		retell(w, r, pass, func(p []byte) []byte {
			if len(p) > 0 {
				p[len(p)/2] ^= 4
			}
			return p
		})
	}},
	{"death before", true, func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }},
	{"death after", true, lose},
	{"503 for ever", true, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		s3test.Refuse(w, r, http.StatusServiceUnavailable, "SlowDown")
	}},
}

// retell gives the server's answer with another body under the same headers.
func retell(w http.ResponseWriter, r *http.Request, pass http.Handler, change func([]byte) []byte) {
	rec := httptest.NewRecorder()
	pass.ServeHTTP(rec, r)
	maps.Copy(w.Header(), rec.Header())
	w.Header().Set("Content-Length", fmt.Sprint(rec.Body.Len()))
	w.WriteHeader(rec.Code)
	_, _ = w.Write(change(rec.Body.Bytes())) // a client that is gone needs no answer
}

// Each request of a backup, a restore, a deletion and a collection meets with each
// mishap in turn: what is left is as before or as after, every backup restores bit
// for bit, and check agrees. HOLDFAST_FULL takes every request, else about one for each.
func TestMishapAtEveryRequest(t *testing.T) {
	s := newStory(t)
	server := s3test.Fake(t)
	stride := 61
	if os.Getenv("HOLDFAST_FULL") != "" {
		stride = 1
	}
	var buckets atomic.Int32
	for ai, a := range s.acts() {
		for mi, m := range mishaps {
			t.Run(a.name+"/"+m.name, func(t *testing.T) {
				t.Parallel() // most of the time it waits to try again
				failed := 0
				for at := 1 + (ai+mi)%stride; ; at += stride {
					c := server.Bucket(t, fmt.Sprintf("act-%d", buckets.Add(1)), false)
					load(t, open(t, c), a.from)
					met, err := s.meets(t, server, c, a, at, m.deadly, m.do)
					s.oldOrNew(t, open(t, c), a, err)
					if err != nil {
						failed++
					}
					if !met {
						break
					}
				}
				if m.deadly && stride == 1 && failed == 0 {
					t.Error("nobody noticed")
				}
			})
		}
	}
}

// load puts a vault into a bucket.
func load(t *testing.T, to, from blob.Storage) {
	t.Helper()
	for _, name := range names(t.Context(), t, from, "") {
		data, err := from.Get(t.Context(), name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		put(t, to, name, data)
	}
}

// meets does the act with a mishap at one of its requests; met tells whether there
// were so many.
func (s *story) meets(t *testing.T, server *s3test.Server, c s3.Config, a act, at int, deadly bool, do handler) (met bool, err error) {
	t.Helper()
	proxy := s3test.NewProxy(t, server)
	c.Endpoint, c.Attempts = proxy.URL, 3
	if deadly {
		c.Attempts = 1
	}
	var n atomic.Int64
	proxy.Handle(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		switch i := n.Add(1); {
		case i == int64(at), i > int64(at) && deadly:
			do(w, r, pass)
		default:
			pass.ServeHTTP(w, r)
		}
	})
	v, err := vault.Open(t.Context(), open(t, c), s.ring)
	if err == nil {
		err = a.do(t.Context(), v)
	}
	if errors.Is(err, errWrongBytes) {
		t.Fatalf("request %d: %v", at, err)
	}
	return n.Load() >= int64(at), err
}

func (s *story) oldOrNew(t *testing.T, st blob.Storage, a act, err error) {
	t.Helper()
	v, oerr := vault.Open(t.Context(), st, s.ring)
	if oerr != nil {
		t.Fatalf("after %v: %v", err, oerr)
	}
	ids, lerr := v.Manifests(t.Context())
	if lerr != nil {
		t.Fatal(lerr)
	}
	if !slices.Equal(ids, a.after) && (err == nil || !slices.Equal(ids, a.before)) {
		t.Fatalf("after %v there are %v", err, ids)
	}
	for _, id := range ids {
		if rerr := s.read(t.Context(), v, id); rerr != nil {
			t.Fatalf("after %v: restore %s: %v", err, id, rerr)
		}
	}
	report, cerr := check.Run(t.Context(), v, check.Options{ReadData: true})
	if cerr != nil || !report.OK || report.Backups != len(ids) {
		t.Fatalf("after %v: check: %+v, %v", err, report, cerr)
	}
	// Once more, through a network that holds: now it succeeds.
	if derr := a.do(t.Context(), v); derr != nil {
		t.Fatalf("after %v, again: %v", err, derr)
	}
	if ids, lerr = v.Manifests(t.Context()); lerr != nil || !slices.Equal(ids, a.after) {
		t.Fatalf("after %v, again: %v, %v", err, ids, lerr)
	}
}
