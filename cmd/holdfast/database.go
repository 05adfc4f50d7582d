package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"holdfast"
	"holdfast/store"
)

// databaseFault says what is wrong with the setting, without repeating it. A URL is
// shown by `config show` and to everybody who lists processes, so that it must not
// have a password: that comes from the file that PGPASSFILE, or passfile in the URL,
// names, as every client of PostgreSQL has it.
func databaseFault(database string) string {
	if !store.OnServer(database) {
		if strings.Contains(database, "://") {
			return "must be a file or postgres://USER@HOST/NAME"
		}
		return ""
	}
	u, err := url.Parse(database)
	if err != nil {
		return "is not a URL"
	}
	_, inUser := u.User.Password()
	if q := u.Query(); inUser || q.Has("password") || q.Has("sslpassword") {
		return "must have no password: put it into a file of mode 0600 that PGPASSFILE names"
	}
	return ""
}

// openDatabase opens the database. A service makes it at its first start (create); a
// command only finds what is there.
func openDatabase(ctx context.Context, c config, create bool) (*store.Store, error) {
	var opts []store.Option
	if !create {
		opts = append(opts, store.Existing())
	}
	st, err := store.Open(ctx, c.Database, opts...)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, holdfast.Wrap(holdfast.CodeNotFound, "open", "There is no service in "+c.Data+". Start it once with `holdfast serve --data "+c.Data+"`, or name the right directory by --data.", err)
	case errors.Is(err, store.ErrUnreachable), errors.Is(err, store.ErrBusy):
		return nil, holdfast.Wrap(holdfast.CodeUpstreamUnavailable, "open", "The database does not answer.", err)
	case err != nil:
		return nil, fmt.Errorf("database: %w", err)
	}
	return st, nil
}

// appear shows the other services of a database that this one runs.
func (in *installation) appear(ctx context.Context) error {
	err := in.store.Appear(ctx, in.config.Host.Name, in.master.Check())
	if errors.Is(err, store.ErrConflict) {
		return holdfast.Wrap(holdfast.CodeOperationInProgress, "serve",
			"Another service runs as host "+in.config.Host.Name+" on this database. Give each its own host.name.", err)
	}
	return err
}
