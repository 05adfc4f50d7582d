package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"holdfast"
	"holdfast/store"
)

// certificate says what was destroyed of an account's keys, where and when, and
// what may still open its data. It holds no key.
type certificate struct {
	Account     holdfast.AccountID `json:"account"`
	Name        string             `json:"name"`
	Mark        string             `json:"mark,omitempty"` // of the key that was destroyed
	ShreddedAt  time.Time          `json:"shreddedAt"`
	CompletedAt *time.Time         `json:"completedAt"` // null: something is left to do
	Backups     int                `json:"backups"`     // that were deleted with it
	Database    databaseShred      `json:"database"`
	Places      []placeShred       `json:"places"`
	Remaining   []remainder        `json:"mayStillOpen"`
	Note        string             `json:"note"`
}

type databaseShred struct {
	File          string     `json:"file"`
	OverwrittenAt *time.Time `json:"overwrittenAt"` // null: it may still hold copies
}

type placeShred struct {
	Place   string     `json:"place"`
	Removed int        `json:"removed"` // key blobs, all their versions
	At      *time.Time `json:"removedAt"`
	Error   string     `json:"error,omitempty"`
}

// remainder is something out of our reach that may open the data, together with
// copies of the sealed data and of the ring.
type remainder struct {
	What   string     `json:"what"`
	Since  *time.Time `json:"since,omitempty"`
	Lapses string     `json:"lapses"`
}

const (
	unknownLapse = "unknown: until you delete them"
	remainNote   = "Each of these opens the data only together with a copy of the vault's keys/ring blobs and of its sealed data. " +
		"The sealed data still lies at the places above; it is of no use, and may be removed."
)

// remaining lists what may still open the account's data.
func (in *installation) remaining(ctx context.Context, c *certificate) error {
	c.Note, c.Remaining = remainNote, nil
	add := func(what string, since *time.Time, lapses string) {
		c.Remaining = append(c.Remaining, remainder{what, since, lapses})
	}
	kits, err := in.store.Kits(ctx, c.Account)
	if err != nil {
		return err
	}
	for _, k := range kits {
		what := fmt.Sprintf("recovery kit number %d, mark %s", k.Number, k.Fingerprint)
		if k.Fingerprint != c.Mark {
			what += ", of a key that was replaced before: with a copy of the keys/ring blobs of its time"
		}
		add(what, &k.IssuedAt, "never: until it is destroyed")
	}
	add("recovery kits printed by versions that did not count them, if there are any", nil, "never: until they are destroyed")
	lapses := unknownLapse
	if keep := in.config.DatabaseBackupRetention; keep > 0 {
		lapses = c.ShreddedAt.Add(keep).UTC().Format(time.RFC3339)
	}
	add("backups and snapshots of the database from before "+c.ShreddedAt.UTC().Format(time.RFC3339)+", with the master key", nil, lapses)
	if store.OnServer(in.config.Database) {
		add("the write-ahead log of the database's server, its archives and replicas, from before that time, with the master key", nil, lapses)
	}
	add("copies of the vault's keys/ blobs that are not at the places above, as replicas, snapshots and backups of them, with the master key or a kit", nil, unknownLapse)
	add("blocks that file systems with snapshots and the media themselves keep of what was overwritten", nil, unknownLapse)
	for _, p := range c.Places {
		if p.At == nil {
			add("the keys/ blobs at "+p.Place+", with the master key or a kit", nil, "when this command is run again and reaches them")
		}
	}
	running, err := in.serving(ctx)
	if running {
		add("the memory of the running service, if it had the vault open", nil, "when it is restarted, or next asked for the account's vault")
	}
	return err
}

// printCertificate writes a certificate as JSON, or as a page to sign and file.
func (a *admin) printCertificate(w io.Writer, c certificate) error {
	if a.json {
		return a.print(w, c)
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("CERTIFICATE OF DESTRUCTION OF KEYS")
	line("")
	line("Account:    %s (%s)", c.Account, c.Name)
	line("Key:        mark %s", c.Mark)
	line("Destroyed:  %s", stamp(&c.ShreddedAt))
	line("Complete:   %s", stamp(c.CompletedAt))
	line("Backups:    %d, none of which can be read any more", c.Backups)
	line("")
	line("REMOVED")
	overwritten := "; its files were overwritten: " + stamp(c.Database.OverwrittenAt)
	if store.OnServer(c.Database.File) {
		overwritten = ", whose table was written anew"
	}
	line("- the wrapped account key from the database %s%s", c.Database.File, overwritten)
	for _, p := range c.Places {
		line("- %d key blobs, with all versions, from %s: %s", p.Removed, p.Place, stamp(p.At))
		if p.Error != "" {
			line("  %s", p.Error)
		}
	}
	line("")
	line("WHAT MAY STILL OPEN THE DATA, and when that lapses")
	for _, r := range c.Remaining {
		since := ""
		if r.Since != nil {
			since = ", issued " + stamp(r.Since)
		}
		line("- %s%s: %s", r.What, since, r.Lapses)
	}
	line("")
	line("%s", c.Note)
	_, err := io.WriteString(w, printable(b.String())) // a site answers with what it likes
	return err
}

func stamp(t *time.Time) string {
	if t == nil {
		return "NOT YET"
	}
	return t.UTC().Format(time.RFC3339)
}
