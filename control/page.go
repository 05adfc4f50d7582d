package control

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"

	"holdfast"
	"holdfast/store"
)

// Page asks for a part of a list.
type Page struct {
	Limit  int    // 1..100; 0: DefaultPage
	Cursor string // NextCursor of the page before; "": from the beginning
}

// The sizes of a page.
const (
	DefaultPage = 20
	MaxPage     = 100
)

// Listed is a page of a list.
type Listed[T any] struct {
	Items      []T
	NextCursor string // "": there is no more
}

// cursor is a place in a list. It is bound to the account and the list, so that
// one that got into other hands is refused and not misread; it opens nothing,
// since every query is of the caller's own account anyway.
type cursor struct {
	At  int64  `json:"t"` // microseconds since 1970
	ID  string `json:"i"`
	Sum []byte `json:"s"`
}

func (c *cursor) sum(account holdfast.AccountID, list string) []byte {
	h := sha256.New()
	for _, part := range []string{list, account.String(), time.UnixMicro(c.At).UTC().Format(time.RFC3339Nano), c.ID} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return h.Sum(nil)[:12]
}

func writeCursor(account holdfast.AccountID, list string, at time.Time, id string) string {
	c := cursor{At: at.UnixMicro(), ID: id}
	c.Sum = c.sum(account, list)
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // three plain fields
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// maxCursor is longer than any cursor of ours.
const maxCursor = 256

func readCursor(account holdfast.AccountID, list, s string) (store.Cursor, error) {
	bad := holdfast.E(holdfast.CodeInvalidCursor, "The cursor is not one of this list. Begin without one, and pass nextCursor on unchanged.")
	if s == "" {
		return store.Cursor{}, nil
	}
	if len(s) > maxCursor {
		return store.Cursor{}, bad
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return store.Cursor{}, bad
	}
	var c cursor
	if err := json.Unmarshal(b, &c); err != nil || string(c.Sum) != string(c.sum(account, list)) {
		return store.Cursor{}, bad
	}
	return store.Cursor{At: time.UnixMicro(c.At).UTC(), ID: c.ID}, nil
}
