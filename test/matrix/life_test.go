package matrix

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"holdfast"
	"holdfast/backup"
	"holdfast/compute"
	"holdfast/disk"
	"holdfast/machine"
	"holdfast/operation"
	"holdfast/vault"
	"holdfast/vault/blob/fault"
)

// life is the service from its start to its death.
type life struct {
	compute.Driver // watched

	w       *world
	storage *fault.Storage
	runner  *operation.Runner
	dead    atomic.Bool

	busy bool // with the operation

	reading atomic.Bool
	reads   atomic.Int64
	moment  string // at which something happens
	happen  func()
	once    sync.Once
}

// live starts the service: its driver is new, its vault is the old one.
func (w *world) live(q *queue) *life {
	w.t.Helper()
	host, err := w.lab.Open()
	w.ok(err)
	w.host = host
	l := &life{Driver: host, w: w, storage: fault.New(w.site)}
	service := &backup.Service{
		Host: &machine.Host{Driver: l, Provisioner: host}, Vaults: vaults{l}, Log: slog.New(slog.NewTextHandler(w.t.Output(), nil)), Sample: 0.001,
	}
	l.runner = operation.NewRunner(door{q, l}, operation.Config{
		Name: "r", TTL: 3 * time.Second, Poll: 2 * time.Millisecond, Publish: 10 * time.Millisecond, MaxAttempts: 3,
		FirstDelay: time.Millisecond, MostDelay: time.Millisecond, Grace: 5 * time.Second, Log: slog.New(slog.DiscardHandler),
	}, map[holdfast.Kind]operation.Handler{holdfast.KindBackup: service.Backup})
	return l
}

// die is what SIGKILL does, as seen from outside.
func (l *life) die() {
	l.dead.Store(true)
	l.storage.AddFault(fault.Any).Forever().ErrorInstead(errDead)
}

// work runs until the operation has ended, or the service has died.
func (l *life) work(q *queue) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	done := make(chan error)
	go func() { done <- l.runner.Run(ctx) }()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-q.ended:
			cancel()
			l.w.ok(<-done)
			return
		case <-tick.C:
			if l.dead.Load() {
				cancel()
				l.w.ok(<-done)
				return
			}
		case err := <-done:
			l.w.t.Fatalf("the backup did not end: %v", errors.Join(err, ctx.Err()))
		}
	}
}

// at lets happen what is to happen at a moment, once.
func (l *life) at(moment string) {
	if l.happen != nil && l.moment == moment {
		l.once.Do(l.happen)
	}
}

// Begin tells that the point in time is taken, and remembers what it holds.
func (l *life) Begin(ctx context.Context, req compute.PointRequest, save func(compute.Handle) error) (compute.Handle, error) {
	if l.dead.Load() {
		return compute.Handle{}, errDead
	}
	st, err := l.Inspect(ctx, req.Machine)
	if err != nil {
		return compute.Handle{}, err
	}
	h, err := l.Driver.Begin(ctx, req, save)
	if err == nil {
		l.w.points[req.Point] = instant{l.w.now.clone(), st.Power}
		l.at("taken")
	}
	return h, err
}

// Recover is asked last before a commit.
func (l *life) Recover(ctx context.Context, h compute.Handle) error {
	if l.reading.Load() {
		l.at("commit")
	}
	if l.dead.Load() {
		return errDead
	}
	return l.Driver.Recover(ctx, h)
}

// End is not reached by who is dead.
func (l *life) End(ctx context.Context, h compute.Handle, o compute.Outcome) error {
	if l.dead.Load() {
		return errDead
	}
	return l.Driver.End(ctx, h, o)
}

// Open opens a disk whose reading is watched.
func (l *life) Open(ctx context.Context, h compute.Handle, name string) (disk.Source, error) {
	if l.dead.Load() {
		return nil, errDead
	}
	src, err := l.Driver.Open(ctx, h, name)
	if err != nil {
		return nil, err
	}
	if r, ok := src.(disk.Releaser); ok {
		return &releaser{watched{r, l}, r}, nil
	}
	return &watched{src, l}, nil
}

// watched is a disk that is being read.
type watched struct {
	disk.Source

	life *life
}

func (s *watched) ReadAt(p []byte, off int64) (int, error) {
	s.life.reading.Store(true)
	if s.life.reads.Add(1) == 3 {
		s.life.at("half")
	}
	if s.life.dead.Load() {
		return 0, errDead
	}
	return s.Source.ReadAt(p, off)
}

type releaser struct {
	watched

	of disk.Releaser
}

func (r *releaser) Release(off, length int64) { r.of.Release(off, length) }

// vaults is the one place that there is.
type vaults struct{ life *life }

func (v vaults) Open(ctx context.Context, _ holdfast.AccountID) (*vault.Vault, error) {
	return vault.Open(ctx, v.life.storage, v.life.w.ring)
}

func (v vaults) Places() []string { return []string{"local"} }

func (v vaults) At(ctx context.Context, account holdfast.AccountID, _ string) (*vault.Vault, error) {
	return v.Open(ctx, account)
}

func (v vaults) Twin(ctx context.Context, account holdfast.AccountID, _ string) (*vault.Vault, error) {
	return v.Open(ctx, account)
}
