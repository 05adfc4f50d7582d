package main

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"

	"holdfast"
)

// copyConfig is a further place of every backup.
type copyConfig struct {
	Name string   `koanf:"name"` // keeps its copies known when the place moves
	Site string   `koanf:"site"` // a directory, which must be there, or s3://bucket/prefix
	S3   s3Config `koanf:"s3"`
}

var placeName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// copiesHook reads the list of copies from the text of a flag or of the
// environment, which is YAML, too.
func copiesHook(_, to reflect.Type, value any) (any, error) {
	text, ok := value.(string)
	if !ok || to != reflect.TypeFor[[]copyConfig]() {
		return value, nil
	}
	if text == "" {
		return []any{}, nil
	}
	m, err := yaml.Parser().Unmarshal([]byte("copies: " + text))
	if err != nil {
		return nil, fmt.Errorf("copies: %w", err)
	}
	return m["copies"], nil
}

func (c *config) deriveCopies() {
	for i := range c.Copies {
		s := &c.Copies[i].S3
		if s.Region == "" {
			s.Region = "us-east-1"
		}
		if s.LockMode == "" {
			s.LockMode = lockCompliance
		}
	}
}

// checkCopies says what is wrong with the further places.
func (c *config) checkCopies() []holdfast.Field {
	var bad []holdfast.Field
	names, sites := map[string]bool{firstPlace: true}, map[string]bool{strings.TrimSuffix(c.Site, "/"): true}
	for i, p := range c.Copies {
		add := func(ok bool, name, detail string) {
			if !ok {
				bad = append(bad, holdfast.Field{Pointer: fmt.Sprintf("copies[%d].%s", i, name), Detail: detail, Code: holdfast.CodeInvalidValue})
			}
		}
		where := strings.TrimSuffix(p.Site, "/")
		add(placeName.MatchString(p.Name) && !names[p.Name], "name", "must be lower-case letters, digits and dashes, and differ from the others and from \""+firstPlace+"\"")
		add(where != "" && (onS3(where) || strings.HasPrefix(where, "/")), "site", "must be an absolute directory or s3://bucket/prefix")
		add(!sites[where], "site", "must differ from the others")
		add(p.S3.Lock == 0 || onS3(where) && p.S3.Lock >= minLock && p.S3.Lock <= maxLock, "s3.lock", "must be 0 or from 1m to ten years (87600h), of a site that is a bucket")
		add(p.S3.LockMode == lockCompliance || p.S3.LockMode == lockGovernance, "s3.lock_mode", "must be compliance or governance")
		names[p.Name], sites[where] = true, true
	}
	return bad
}
