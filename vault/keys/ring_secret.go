package keys

import (
	"fmt"
	"log/slog"
)

// GoString hides the keys.
func (r Ring) GoString() string { return redacted }

// Format hides the keys from every verb.
func (r Ring) Format(f fmt.State, verb rune) { r.id.Format(f, verb) }

// LogValue hides the keys from slog.
func (r Ring) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText refuses with ErrMarshal.
func (r Ring) MarshalText() ([]byte, error) { return nil, ErrMarshal }

// MarshalJSON refuses with ErrMarshal.
func (r Ring) MarshalJSON() ([]byte, error) { return nil, ErrMarshal }

// MarshalBinary refuses with ErrMarshal.
func (r Ring) MarshalBinary() ([]byte, error) { return nil, ErrMarshal }

// GobEncode refuses with ErrMarshal.
func (r Ring) GobEncode() ([]byte, error) { return nil, ErrMarshal }
