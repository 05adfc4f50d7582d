package blob

import (
	"fmt"
	"strings"
)

// MaxName is the longest blob name in bytes.
const MaxName = 240

// CheckName refuses, with ErrName, a name that could mean something else on some
// storage. A name is one or more parts joined by "/"; a part is lower-case
// letters, digits, "-", "_" and ".", and begins with a letter or digit, so that
// no name leaves its directory or collides with a storage's own files.
func CheckName(name string) error {
	if len(name) > MaxName {
		return fmt.Errorf("%w: %d bytes", ErrName, len(name))
	}
	for part := range strings.SplitSeq(name, "/") {
		if !validPart(part) {
			return fmt.Errorf("%w: %q", ErrName, name)
		}
	}
	return nil
}

func validPart(part string) bool {
	for i, r := range []byte(part) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
		case i > 0 && (r == '-' || r == '_' || r == '.'):
		default:
			return false
		}
	}
	return part != ""
}
