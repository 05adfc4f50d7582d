package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"holdfast/vault/blob"
	"holdfast/vault/bounded"
	"holdfast/vault/pack"
)

// ErrCollecting says that another collector has published a plan since this one
// was made. Planning again takes that one up.
var ErrCollecting = errors.New("another collection is under way")

const (
	defaultSparse = 0.66
	defaultIdle   = time.Hour
	defaultPoll   = time.Second

	// Small packs are put together when there are so many of them.
	smallPacks = 16
	smallShare = 8 // of a full pack's size
	// So many segments, each of fewer entries than smallSegment, are merged.
	manySegments  = 16
	smallSegment  = 1 << 17
	mergeEntries  = 4 << 20 // at most, in one collection
	maxCondemned  = 1 << 16 // packs, in one collection
	maxPlan       = 64 << 20
	deleteWorkers = 8
)

// CollectOptions say how a vault is collected. Zero values take the defaults.
type CollectOptions struct {
	// Sparse is the live share, between 0 and 1, below which a pack is rewritten;
	// 0 means 0.66, negative never.
	Sparse float64
	// Idle is how long a session that is older than the plan and of which nothing is
	// known may put nothing before it is ended, by this process's own monotonic
	// clock; 0 means an hour. A writer that comes back later finds its session lost.
	Idle time.Duration
	// Session, if set, says what is known of a session's writer: a dead one is ended
	// at once, a living one never. It may be wrong at no cost but work.
	Session func(session string) SessionState
	// Wait bounds the whole waiting for sessions; 0 is no bound. What is not over
	// by then is a *WaitingError, and the next collection goes on from there.
	Wait time.Duration
	// Watch, if set, remembers how far sessions had come, so that Idle goes on over
	// several collections that each wait only for a little.
	Watch *SessionWatch
	// Poll is the time between two looks at the sessions; 0 means a second.
	Poll time.Duration
	// Progress, if set, is told of each stage, with what is done and to be done of it.
	Progress func(stage string, done, total int)
}

// SessionWatch is what a process has seen of the sessions of one vault. The zero
// value has seen nothing; it serves one collection at a time.
type SessionWatch struct{ seen map[string]progress }

// SessionState is what a collector's caller knows of a session.
type SessionState int

// What can be known of a session.
const (
	SessionUnknown SessionState = iota
	SessionAlive                // its writer is at work, or will be taken up
	SessionDead                 // nobody will take it up
)

func (o CollectOptions) withDefaults() CollectOptions {
	if o.Sparse == 0 {
		o.Sparse = defaultSparse
	}
	o.Sparse = min(o.Sparse, 1) // more would rewrite for ever
	if o.Idle == 0 {
		o.Idle = defaultIdle
	}
	if o.Poll == 0 {
		o.Poll = defaultPoll
	}
	if o.Session == nil {
		o.Session = func(string) SessionState { return SessionUnknown }
	}
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	if o.Watch == nil {
		o.Watch = &SessionWatch{}
	}
	if o.Watch.seen == nil {
		o.Watch.seen = map[string]progress{}
	}
	return o
}

// WaitingError says that a collection waits for writers that began before it.
// Nothing of theirs was touched.
type WaitingError struct{ Sessions []string }

// Error names the sessions.
func (e *WaitingError) Error() string {
	return "collection waits for the sessions " + strings.Join(e.Sessions, ", ")
}

// Condemned is one pack that is to go.
type Condemned struct {
	Name string `json:"name"`
	Size int64  `json:"size"` // bytes
	// Copy is the bytes in it that are still needed and will be copied first; none
	// for a pack that is garbage.
	Copy int64 `json:"copy,omitempty"`
	// Keep is the bitmap of its chunks that a backup needs, by ordinal.
	Keep []byte `json:"keep,omitempty"`
}

// CollectionPlan is what a collection will do. It is computed without changing
// anything, and executed as it is by Collect; as JSON it is what is published.
type CollectionPlan struct {
	Number uint64 `json:"number"`
	// Published says that a collector has begun it already, and this is its rest.
	Published bool `json:"published,omitempty"`

	Backups   int    `json:"backups"`
	Chunks    uint64 `json:"chunks"`            // stored chunks and nodes that backups need
	Missing   uint64 `json:"missing,omitempty"` // of those, what no pack holds: for repair
	Packs     int    `json:"packs"`             // in all
	PackBytes int64  `json:"packBytes"`
	LiveBytes int64  `json:"liveBytes"`

	Condemned []Condemned `json:"condemned"`
	Segments  []string    `json:"segments,omitempty"` // index segments to be merged
	// Waiting are the packs that were left out because they are retained.
	Waiting Waiting `json:"waiting,omitzero"`
	// Unindexed are needed packs that no segment covers; they get one.
	Unindexed []string `json:"unindexed,omitempty"`
	// Sessions are those under way, whose packs were left alone.
	Sessions []string `json:"sessions,omitempty"`
	// Ends are the sessions that were given up, and those that are complete but for
	// their marks.
	Ends []string `json:"ends,omitempty"`

	known []string // backups that were marked or were deleted already
}

type publishedPlan struct {
	CollectionPlan

	Condemned condemnedPacks `json:"condemned"` // in the plan's place
	Known     []string       `json:"known"`
}

type condemnedPacks []Condemned

// UnmarshalJSON stops at the first that is no pack.
func (c *condemnedPacks) UnmarshalJSON(data []byte) (err error) {
	*c, err = bounded.List(data, maxPlan, func(c Condemned) error {
		_, err := pack.ParseName(c.Name)
		return err
	})
	return err
}

func (p *CollectionPlan) encode() ([]byte, error) {
	return json.Marshal(publishedPlan{*p, p.Condemned, p.known})
}

func decodePlan(data []byte) (*CollectionPlan, error) {
	var p publishedPlan
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, err
	}
	for _, s := range p.Ends { // becomes part of names
		if err := CheckID(s); err != nil {
			return nil, err
		}
	}
	p.CollectionPlan.Condemned, p.known = p.Condemned, p.Known
	return &p.CollectionPlan, nil
}

// Empty reports whether there is nothing to be done.
func (p *CollectionPlan) Empty() bool {
	return !p.Published && len(p.Condemned) == 0 && len(p.Segments) == 0 && len(p.Unindexed) == 0 && len(p.Ends) == 0
}

// Frees is the number of bytes that the vault will be smaller by, its index aside.
func (p *CollectionPlan) Frees() int64 {
	var n int64
	for _, c := range p.Condemned {
		n += c.Size - c.Copy
	}
	return n
}

// Rewrites is the number of packs whose needed part is copied, and its bytes.
func (p *CollectionPlan) Rewrites() (packs int, bytes int64) {
	for _, c := range p.Condemned {
		if len(c.Keep) > 0 {
			packs++
			bytes += c.Copy
		}
	}
	return packs, bytes
}

// String says in a few lines what goes, what is rewritten and what is freed.
func (p *CollectionPlan) String() string {
	if p.Empty() {
		return fmt.Sprintf("nothing to collect: %d packs, %d bytes, %d of them needed by %d backups\n", p.Packs, p.PackBytes, p.LiveBytes, p.Backups) + p.Waiting.String()
	}
	n, copied := p.Rewrites()
	b := &strings.Builder{}
	fmt.Fprintf(b, "collection %d of %d packs, %d bytes, %d of them needed by %d backups\n", p.Number, p.Packs, p.PackBytes, p.LiveBytes, p.Backups)
	fmt.Fprintf(b, "  goes       %d packs without a needed chunk\n", len(p.Condemned)-n)
	fmt.Fprintf(b, "  rewritten  %d packs, of which %d bytes are kept\n", n, copied)
	fmt.Fprintf(b, "  merged     %d index segments\n", len(p.Segments))
	fmt.Fprintf(b, "  indexed    %d packs that no segment covers\n", len(p.Unindexed))
	fmt.Fprintf(b, "  ended      %d sessions that were given up\n", len(p.Ends))
	fmt.Fprintf(b, "  freed      %d bytes\n", p.Frees())
	b.WriteString(p.Waiting.String())
	if p.Missing > 0 {
		fmt.Fprintf(b, "  missing    %d chunks are in no pack: check tells which backups need them\n", p.Missing)
	}
	for _, c := range p.Condemned {
		fmt.Fprintf(b, "  %s %d bytes, %d kept\n", c.Name, c.Size, c.Copy)
	}
	return b.String()
}

// Collected is what a collection did.
type Collected struct {
	Number   uint64 `json:"number"`
	Deleted  int    `json:"packsDeleted"`
	Bytes    int64  `json:"bytesDeleted"`
	Copied   int64  `json:"bytesCopied"`
	Spared   int    `json:"packsSpared"` // condemned, but needed after all, retained, or not readable
	Segments int    `json:"segmentsMerged"`
	// Ended are the sessions that were ended because they did not end by themselves.
	Ended []string `json:"sessionsEnded,omitempty"`
	// Again says that too much had changed since the plan: another will free more.
	Again bool `json:"again,omitempty"`
}

// Sweep removes what dead writers have left at the place that is no blob; it may
// run beside living ones. It returns how many pieces there were.
func (v *Vault) Sweep(ctx context.Context) (int, error) { return blob.Sweep(ctx, v.st) }
