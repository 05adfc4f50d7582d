package s3

import (
	"fmt"
	"io"
	"log/slog"
)

const mask = "[secret]"

// Secret is a value that no way of printing, logging or encoding shows; behind a
// pointer, because fmt looks into the unexported fields of what it prints without
// asking for methods.
type Secret struct{ value *string }

// NewSecret hides a value.
func NewSecret(value string) Secret { return Secret{&value} }

func (s Secret) empty() bool { return s.value == nil || *s.value == "" }

// String implements fmt.Stringer; it masks.
func (s Secret) String() string { return mask }

// Format implements fmt.Formatter; it masks for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, mask) } // a fmt.State does not fail

// LogValue implements slog.LogValuer; it masks.
func (s Secret) LogValue() slog.Value { return slog.StringValue(mask) }

// MarshalText implements encoding.TextMarshaler, for JSON and YAML; it masks.
func (s Secret) MarshalText() ([]byte, error) { return []byte(mask), nil }
