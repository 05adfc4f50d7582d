package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/vault/blob"
)

// probePrefix is where Probe puts its blobs; a vault knows nothing there.
const probePrefix = "probe/"

// probeLock is for how long a probe of object lock retains its blob.
const probeLock = 30 * time.Second

// Probe proves that the place behaves as a vault needs it: that it creates and
// never replaces, also for many at once; shows what was written at once, whole
// and in ranges and in lists of several pages; deletes; keeps no versions that
// the configuration does not know of; and locks, when locks are configured. Else
// it is ErrUnsuitable, with the reason. It also finds out whether blobs can be
// written in parts. It leaves nothing but, with locks, one small blob until its
// date, which a later Probe removes.
func (s *Storage) Probe(ctx context.Context) error {
	p := &probe{s: s, dir: probePrefix + randomName() + "/"}
	err := s.sweepProbes(ctx)
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"create only", p.createOnly}, {"one of many", p.oneOfMany}, {"read", p.read}, {"list", p.list},
		{"delete", p.delete}, {"parts", p.parts}, {"lock", p.lock},
	} {
		if err != nil {
			break
		}
		if err = step.do(ctx); err != nil {
			err = fmt.Errorf("probe %s: %s: %w", s, step.name, err)
		}
	}
	return errors.Join(err, p.clean(ctx))
}

// sweepProbes removes what earlier probes left.
func (s *Storage) sweepProbes(ctx context.Context) error {
	for info, err := range s.List(ctx, probePrefix) {
		if err == nil {
			err = s.Delete(ctx, info.Name)
		}
		if err != nil && !errors.Is(err, blob.ErrRetained) {
			return fmt.Errorf("probe %s: %w", s, err)
		}
	}
	return nil
}

type probe struct {
	s     *Storage
	dir   string
	names []string
}

func randomName() string {
	var raw [8]byte
	_, _ = rand.Read(raw[:]) // never fails
	return hex.EncodeToString(raw[:])
}

func unsuitable(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsuitable, fmt.Sprintf(format, args...))
}

// name of a blob of this probe, which clean removes.
func (p *probe) name(s string) string {
	name := p.dir + s
	if !slices.Contains(p.names, name) {
		p.names = append(p.names, name)
	}
	return name
}

// put writes without the lock that the configuration asks for, once.
func (p *probe) put(ctx context.Context, name string, data []byte) (version string, err error) {
	u := p.s.newUpload(name, p.s.prefix+name, data)
	u.options.Mode, u.options.RetainUntilDate = "", time.Time{}
	return p.s.putWhole(ctx, u)
}

func (p *probe) createOnly(ctx context.Context) error {
	name := p.name("one")
	version, err := p.put(ctx, name, []byte("first"))
	if err != nil {
		return err
	}
	if version != "" && version != "null" && p.s.versions == nil {
		return unsuitable("the bucket keeps versions, so that deleting would free nothing: say so in the configuration, or suspend them")
	}
	if version == "" && p.s.versions != nil {
		return unsuitable("the bucket keeps no versions")
	}
	switch _, err := p.put(ctx, name, []byte("other")); {
	case err == nil:
		return unsuitable("If-None-Match is ignored: it replaces what is there")
	case !errors.Is(err, blob.ErrExists):
		return err
	}
	return nil
}

// oneOfMany finds servers that look first and write later.
func (p *probe) oneOfMany(ctx context.Context) error {
	for round := range 3 {
		name := p.name(fmt.Sprintf("race-%d", round))
		var won atomic.Int32
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() {
				_, err := p.put(ctx, name, bytes.Repeat(fmt.Appendf(nil, "%d", i), 64<<10))
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, blob.ErrExists) {
					errs[i] = err
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		if won.Load() != 1 {
			return unsuitable("of writers of one name at the same time, %d were told that they created it", won.Load())
		}
	}
	return nil
}

func (p *probe) read(ctx context.Context) error {
	name := p.name("bytes")
	data := make([]byte, 100_000)
	_, _ = rand.Read(data) // never fails
	if _, err := p.put(ctx, name, data); err != nil {
		return err
	}
	got, err := p.s.Get(ctx, name, int64(len(data)))
	if err != nil {
		return fmt.Errorf("what was just written: %w", err)
	}
	part := make([]byte, 1000)
	if err := p.s.ReadAt(ctx, name, part, 50_000); err != nil {
		return fmt.Errorf("a range: %w", err)
	}
	if !bytes.Equal(got, data) || !bytes.Equal(part, data[50_000:51_000]) {
		return unsuitable("it returns other bytes than it took")
	}
	err = p.s.ReadAt(ctx, name, part, int64(len(data))-500)
	if !errors.Is(err, errUnexpectedEnd) {
		return unsuitable("a range beyond the end is answered with %v", err)
	}
	return nil
}

func (p *probe) list(ctx context.Context) error {
	found := map[string]bool{}
	for info, err := range p.s.List(ctx, p.dir) {
		if err != nil {
			return err
		}
		found[info.Name] = true
	}
	for _, name := range p.names {
		if !found[name] {
			return unsuitable("a list does not show %s, which was just written", name)
		}
	}
	// From the middle: a list that broke off is taken up so.
	last, after := slices.Max(p.names), slices.Min(p.names)
	w := &walk{s: p.s, prefix: p.s.prefix + p.dir, after: p.s.prefix + after, yield: func(i blob.Info, _ error) bool {
		delete(found, i.Name)
		return true
	}}
	if err := p.s.retry(ctx, "list from the middle", w.resume); err != nil {
		return err
	}
	if found[last] || !found[after] {
		return unsuitable("start-after is ignored in a list")
	}
	return nil
}

func (p *probe) delete(ctx context.Context) error {
	name := p.name("gone")
	for range 2 { // the name is free again
		if _, err := p.put(ctx, name, []byte("x")); err != nil {
			return err
		}
		for range 2 {
			if err := p.s.Delete(ctx, name); err != nil {
				return err
			}
		}
		if _, err := p.s.Stat(ctx, name); !absent(err) {
			return unsuitable("what was deleted is still there (%v)", err)
		}
	}
	for info, err := range p.s.List(ctx, name) {
		if err != nil {
			return err
		}
		return unsuitable("a list shows %s, which was just deleted", info.Name)
	}
	return nil
}

// parts asks whether an upload in parts can be made create-only. Where it
// cannot, large blobs go in one request.
func (p *probe) parts(ctx context.Context) error {
	p.s.multipart.Store(false)
	name := p.name("parts")
	for i, data := range []string{"first", "other"} {
		u := p.s.newUpload(name, p.s.prefix+name, []byte(data))
		u.options.Mode, u.options.RetainUntilDate = "", time.Time{}
		_, err := p.s.putParts(ctx, u)
		if i == 1 && errors.Is(err, blob.ErrExists) {
			got, err := p.s.Get(ctx, name, 10)
			p.s.multipart.Store(err == nil && string(got) == "first")
			return err
		}
		if err != nil {
			return ctx.Err() // no uploads in parts here; that is no fault
		}
	}
	return nil
}

func (p *probe) lock(ctx context.Context) error {
	if p.s.config.Lock == nil {
		return nil
	}
	name := p.dir + "lock"
	u := p.s.newUpload(name, p.s.prefix+name, []byte("locked"))
	u.options.Mode, u.options.RetainUntilDate = p.s.config.Lock.mode(), roundUp(time.Now().Add(probeLock))
	version, err := p.s.putWhole(ctx, u)
	if err != nil {
		return unsuitable("it takes no blob with a lock: %v", err)
	}
	if until, err := p.s.RetainedUntil(ctx, name); err != nil || until.Before(u.options.RetainUntilDate) {
		return unsuitable("a lock until %s is one until %s (%v)", u.options.RetainUntilDate, until, err)
	}
	switch err := p.s.remove(ctx, name, u.key, version); {
	case err == nil:
		return unsuitable("a locked blob can be deleted")
	case !refused(err):
		return err
	}
	if err := p.s.remove(ctx, name, u.key, ""); err != nil { // a delete marker
		return err
	}
	p.s.versions.forget(u.key)
	if got, err := p.s.Get(ctx, name, 10); err != nil || string(got) != "locked" {
		return unsuitable("a delete marker hides a locked blob: %v", err)
	}
	return nil
}

// clean removes the probe's blobs, though ctx may have ended.
func (p *probe) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	var errs []error
	for _, name := range p.names {
		errs = append(errs, p.s.Delete(ctx, name))
	}
	return errors.Join(errs...)
}
