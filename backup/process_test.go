package backup_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdfast"
	"holdfast/backup"
	"holdfast/compute/sim"
	"holdfast/control"
	"holdfast/machine"
	"holdfast/operation"
	"holdfast/vault"
	"holdfast/vault/blob/fault"
	"holdfast/vault/keys"
)

// process is one process of the service: it can be killed, and then nothing of
// it reaches the world any more.
type process struct {
	*world

	door    *door
	sim     *sim.Host
	storage *fault.Storage
	service *backup.Service
	keeper  *backup.Keeper
	runner  *operation.Runner
	dead    atomic.Bool

	returned chan struct{} // closed when a backup's handler has returned
	once     sync.Once
}

var errDead = errors.New("the process is dead")

func (w *world) process() *process {
	w.t.Helper()
	p := &process{world: w, sim: w.hypervisor(), storage: fault.New(w.site), returned: make(chan struct{})}
	p.door = &door{Queue: control.NewQueue(w.store, w.log).WithUpkeep(w.care), process: p, cancelSeen: make(chan struct{})}
	p.service = &backup.Service{
		Host:   &machine.Host{Driver: p.sim, Provisioner: p.sim, Regenerator: p.sim, Ports: machine.PortRange{First: 47000, Last: 47099}},
		Vaults: p, Log: w.log, Sample: 0.001,
	}
	p.keeper = &backup.Keeper{Vaults: p, Log: w.log, Sessions: func(context.Context, holdfast.AccountID, string) func(string) vault.SessionState {
		return func(session string) vault.SessionState { return p.sessions[session] }
	}}
	p.runner = operation.NewRunner(p.door, operation.Config{
		Name: holdfast.NewID[holdfast.RequestID]().ULID(), Host: w.host, TTL: ttl, Poll: 2 * time.Millisecond, Publish: 10 * time.Millisecond,
		MaxAttempts: 3, FirstDelay: time.Millisecond, MostDelay: 4 * time.Millisecond, Log: w.log,
	}, map[holdfast.Kind]operation.Handler{
		holdfast.KindBackup: p.backUp, holdfast.KindRestoreToPayg: p.service.Restore, holdfast.KindBackupDelete: p.service.Delete,
		holdfast.KindRestoreInPlace: p.service.RestoreInPlace, holdfast.KindRestoreUndo: p.service.Host.Undo, holdfast.KindGenerationDrop: p.service.Host.DropGeneration,
		holdfast.KindCopy: p.keeper.Copy, holdfast.KindCopyDelete: p.keeper.DeleteCopy, holdfast.KindVaultCollect: p.keeper.Collect,
	})
	return p
}

func (p *process) backUp(ctx context.Context, run *operation.Run) (any, error) {
	defer p.once.Do(func() { close(p.returned) })
	return p.service.Backup(ctx, run)
}

// Open implements backup.Vaults.
func (p *process) Open(ctx context.Context, _ holdfast.AccountID) (*vault.Vault, error) {
	return vault.Open(ctx, p.storage, p.ring)
}

// Places implements backup.Vaults.
func (p *process) Places() []string {
	return append([]string{firstPlace}, slices.Sorted(maps.Keys(p.others))...)
}

// At implements backup.Vaults.
func (p *process) At(ctx context.Context, account holdfast.AccountID, place string) (*vault.Vault, error) {
	if place == firstPlace {
		return p.Open(ctx, account)
	}
	return vault.Open(ctx, p.others[place], p.ring)
}

// Twin implements backup.Vaults.
func (p *process) Twin(ctx context.Context, account holdfast.AccountID, place string) (*vault.Vault, error) {
	v, err := p.At(ctx, account, place)
	if !errors.Is(err, vault.ErrNoVault) {
		return v, err
	}
	first, err := p.Open(ctx, account)
	if err != nil {
		return nil, err
	}
	key := keys.NewAccountKey()
	return first.InitCopy(ctx, p.others[place], vault.Config{
		Account: string(account), Ring: p.ring, WrappedRing: key.WrapRing(string(account), p.ring),
	})
}

// inject replaces the hypervisor's faults; before is called before each call of
// the driver, which counts it.
func (p *process) inject(f sim.Faults, before func(name string, n int) error) {
	var mu sync.Mutex
	calls := map[string]int{}
	f.Call = func(name, _ string) error {
		mu.Lock()
		calls[name]++
		n := calls[name]
		mu.Unlock()
		if p.dead.Load() {
			return errDead
		}
		if before == nil {
			return nil
		}
		return before(name, n)
	}
	p.sim.Inject(f)
}

// die is what SIGKILL does, as seen from outside.
func (p *process) die() {
	p.dead.Store(true)
	p.storage.AddFault(fault.Any).Forever().ErrorInstead(errDead)
}

// run works until stop is closed, or the test's patience ends.
func (p *process) run(stop <-chan struct{}) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-stop:
		case <-ctx.Done():
		}
	}()
	p.ok(p.runner.Run(ctx))
	select {
	case <-stop:
	default:
		p.t.Fatal("the runner was not stopped: what it waits for did not happen")
	}
}

// finish works until the operation has ended.
func (p *process) finish(o holdfast.Operation) {
	p.t.Helper()
	p.run(p.until(func() bool {
		now, err := p.store.Operation(context.Background(), o.ID)
		return err == nil && !now.Active()
	}))
}

// until is closed when a condition holds; no event tells of a row in a database.
func (p *process) until(holds func() bool) <-chan struct{} {
	stop := make(chan struct{})
	go func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
			if holds() {
				close(stop)
				return
			}
		}
	}()
	return stop
}

// door is the queue as this process sees it.
type door struct {
	*control.Queue

	process *process

	mu      sync.Mutex
	journal func(key string, n int) // called before an entry is written
	entries map[string]int
	finish  func()                // called before an outcome is written
	rewrite map[string]string     // entries written instead, the last thing this process does
	shown   [][]holdfast.Progress // of each claim

	cancelSeen chan struct{} // closed when a renewal told of a cancel
	saw        sync.Once
}

func (d *door) Claim(ctx context.Context, req operation.ClaimRequest) (holdfast.Operation, error) {
	if d.process.dead.Load() {
		return holdfast.Operation{}, operation.ErrNone
	}
	o, err := d.Queue.Claim(ctx, req)
	if err == nil {
		d.mu.Lock()
		d.shown = append(d.shown, nil)
		d.mu.Unlock()
	}
	return o, err
}

func (d *door) Renew(ctx context.Context, l operation.Lease, ttl time.Duration, p holdfast.Progress) (bool, error) {
	if d.process.dead.Load() {
		return false, operation.ErrLeaseLost
	}
	d.mu.Lock()
	last := len(d.shown) - 1
	d.shown[last] = append(d.shown[last], p)
	d.mu.Unlock()
	cancel, err := d.Queue.Renew(ctx, l, ttl, p)
	if cancel {
		d.saw.Do(func() { close(d.cancelSeen) })
	}
	return cancel, err
}

func (d *door) Journal(ctx context.Context, l operation.Lease, key string, v json.RawMessage) error {
	d.mu.Lock()
	if d.entries == nil {
		d.entries = map[string]int{}
	}
	d.entries[key]++
	n, journal := d.entries[key], d.journal
	d.mu.Unlock()
	if journal != nil {
		journal(key, n)
	}
	if d.process.dead.Load() {
		panic(errDead) // nothing after this call happens in a killed process
	}
	if instead, ok := d.rewrite[key]; ok {
		defer d.process.die()
		v = json.RawMessage(instead)
	}
	return d.Queue.Journal(ctx, l, key, v)
}

func (d *door) Finish(ctx context.Context, l operation.Lease, o operation.Outcome) error {
	if d.finish != nil {
		d.finish()
	}
	if d.process.dead.Load() {
		return operation.ErrLeaseLost
	}
	return d.Queue.Finish(ctx, l, o)
}

// neverBack proves that within each claim the progress that was published only
// grew, and never went beyond its total.
func (p *process) neverBack() {
	p.t.Helper()
	p.door.mu.Lock()
	defer p.door.mu.Unlock()
	for _, claim := range p.door.shown {
		last := 0
		for _, s := range claim {
			if s.Percentage() < last || s.Current > s.Total {
				p.t.Errorf("the progress went back from %d %% to %+v", last, s)
			}
			last = s.Percentage()
		}
	}
}
