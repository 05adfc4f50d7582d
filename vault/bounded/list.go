// Package bounded reads JSON from outside without holding more than is allowed.
package bounded

import (
	"bytes"
	"encoding/json"
	"errors"
)

// ErrTooMany says that a list holds more than its reader allows.
var ErrTooMany = errors.New("the list is too long")

// List reads a JSON list element by element and ends with the first that check
// refuses, or with ErrTooMany after limit. Decoding the whole first would take
// thirty times the bytes of a list of empty objects. null is an empty list.
func List[T any](data []byte, limit int, check func(T) error) ([]T, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	open, err := d.Token()
	if err != nil || open == nil {
		return nil, err
	}
	if open != json.Delim('[') {
		return nil, errors.New("not a list")
	}
	var all []T
	for d.More() {
		if len(all) >= limit {
			return nil, ErrTooMany
		}
		var one T
		if err := d.Decode(&one); err != nil {
			return nil, err
		}
		if err := check(one); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	_, err = d.Token()
	return all, err
}
