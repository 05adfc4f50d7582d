package s3

// Reveal shows a secret to tests.
func (s Secret) Reveal() string {
	if s.empty() {
		return ""
	}
	return *s.value
}
