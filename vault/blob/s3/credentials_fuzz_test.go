package s3

import (
	"strings"
	"testing"
)

// The file is the operator's; what is in it is never repeated in an error.
func FuzzParseKeys(f *testing.F) {
	f.Add("access_key = AKIA0123456789\nsecret_key = s3cr3t0123456789\n")
	f.Add("[default]\naws_access_key_id=a\n# x\naws_secret_access_key=b")
	f.Add("secret_key=s3cr3t0123456789\nsecret_key=again\n")
	f.Add("s3cr3t0123456789")
	f.Fuzz(func(t *testing.T, text string) {
		access, secret, err := parseKeys(text)
		if err == nil && (access == "" || secret == "" || strings.ContainsAny(access+secret, "\n") || !strings.Contains(text, secret)) {
			t.Errorf("taken: %q and %q", access, secret)
		}
		if err == nil {
			return
		}
		for line := range strings.Lines(text) {
			if _, value, _ := strings.Cut(line, "="); len(strings.TrimSpace(value)) > 15 && strings.Contains(err.Error(), strings.TrimSpace(value)) {
				t.Errorf("the error repeats %q: %v", value, err)
			}
		}
	})
}
