package s3

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// The names of the keys in the environment.
const (
	EnvAccessKey = "HOLDFAST_S3_ACCESS_KEY"
	EnvSecretKey = "HOLDFAST_S3_SECRET_KEY" // #nosec G101 -- a name, not a secret
)

const maxCredentials = 4096 // bytes of a credentials file

// LoadKeys returns the access and the secret key from a file or, when name is
// empty, from the environment as getenv gives it; they never stand in a command
// line. The file has the lines "access_key = …" and "secret_key = …", or those of
// an AWS credentials file with one profile, and may be read by its owner only.
func LoadKeys(name string, getenv func(string) string) (string, Secret, error) {
	if name == "" {
		access, secret := getenv(EnvAccessKey), getenv(EnvSecretKey)
		if access == "" || secret == "" {
			return "", Secret{}, fmt.Errorf("%s and %s are not set", EnvAccessKey, EnvSecretKey)
		}
		return access, NewSecret(secret), nil
	}
	text, err := readPrivate(name)
	if err != nil {
		return "", Secret{}, fmt.Errorf("credentials: %w", err)
	}
	access, secret, err := parseKeys(text)
	if err != nil {
		return "", Secret{}, fmt.Errorf("credentials in %s: %w", name, err)
	}
	return access, NewSecret(secret), nil
}

func readPrivate(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // opened for reading: nothing can be lost
	fi, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !fi.Mode().IsRegular() || fi.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s must be a file that only its owner can read (chmod 600)", name)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxCredentials+1))
	if err == nil && len(text) > maxCredentials {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxCredentials)
	}
	return string(text), err
}

// parseKeys never repeats what it reads in an error.
func parseKeys(text string) (access, secret string, err error) {
	at := map[string]*string{
		"access_key": &access, "aws_access_key_id": &access,
		"secret_key": &secret, "aws_secret_access_key": &secret,
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.ContainsRune("#;[", rune(line[0])) {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		to := at[strings.TrimSpace(name)]
		if !ok || to == nil || *to != "" {
			return "", "", fmt.Errorf("line %d is not access_key = … or secret_key = …, once each", n)
		}
		*to = strings.TrimSpace(value)
	}
	if access == "" || secret == "" {
		return "", "", errors.New("access_key or secret_key is missing")
	}
	return access, secret, nil
}
