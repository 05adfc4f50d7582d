package control

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"holdfast"
	"holdfast/store"
)

func TestTold(t *testing.T) {
	for _, c := range []struct {
		err  error
		want holdfast.Code
	}{
		{nil, ""},
		{errors.New("disk on fire"), holdfast.CodeInternal},
		{fmt.Errorf("write: %w", store.ErrFull), holdfast.CodeDatabaseFull},
		{fmt.Errorf("write: %w", store.ErrBusy), holdfast.CodeUpstreamUnavailable},
		{fmt.Errorf("write: %w", store.ErrConflict), holdfast.CodeUpstreamUnavailable},
		{fmt.Errorf("read: %w", context.DeadlineExceeded), holdfast.CodeUpstreamUnavailable},
		{fmt.Errorf("deep: %w", holdfast.E(holdfast.CodeVPSNotFound, "m")), holdfast.CodeVPSNotFound},
		{missing(store.ErrNotFound, holdfast.CodeJobNotFound, "m"), holdfast.CodeJobNotFound},
		{missing(store.ErrFull, holdfast.CodeJobNotFound, "m"), holdfast.CodeDatabaseFull},
		{taken(store.ErrConflict, "/name", "m"), holdfast.CodeInvalidRequest},
	} {
		err := told("op", c.err)
		if got := holdfast.CodeOf(err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
		if e, ok := errors.AsType[*holdfast.Error](err); ok && e.Msg == "" {
			t.Errorf("%v: nothing is said", c.err)
		}
	}
}

func TestInvalid(t *testing.T) {
	region := holdfast.Field{Pointer: "/region", Code: holdfast.CodeRegionUnknown, Detail: "d"}
	other := holdfast.Field{Pointer: "/name", Code: holdfast.CodeInvalidValue, Detail: "d"}
	for _, c := range []struct {
		faults []holdfast.Field
		want   holdfast.Code
	}{
		{nil, ""}, {[]holdfast.Field{region}, holdfast.CodeRegionUnknown}, {[]holdfast.Field{other}, holdfast.CodeInvalidRequest},
		{[]holdfast.Field{region, other}, holdfast.CodeInvalidRequest}, {[]holdfast.Field{other, region}, holdfast.CodeInvalidRequest},
	} {
		if got := holdfast.CodeOf(Invalid(c.faults)); got != c.want {
			t.Errorf("%v: %q", c.faults, got)
		}
	}
}

func TestCursors(t *testing.T) {
	a, b := holdfast.NewID[holdfast.AccountID](), holdfast.NewID[holdfast.AccountID]()
	at := store.Cursor{ID: "vps_x"}
	s := writeCursor(a, "vps", at.At, at.ID)
	if got, err := readCursor(a, "vps", s); err != nil || got.ID != at.ID {
		t.Errorf("%+v %v", got, err)
	}
	for _, read := range []func() (store.Cursor, error){
		func() (store.Cursor, error) { return readCursor(b, "vps", s) },
		func() (store.Cursor, error) { return readCursor(a, "jobs", s) },
		func() (store.Cursor, error) { return readCursor(a, "vps", s[:len(s)-2]) },
		func() (store.Cursor, error) { return readCursor(a, "vps", "e30") },
	} {
		if _, err := read(); holdfast.CodeOf(err) != holdfast.CodeInvalidCursor {
			t.Errorf("accepted: %v", err)
		}
	}
}
