package main

import (
	"reflect"
	"strconv"
	"strings"
	"time"
)

const (
	day = 24 * time.Hour
	// The bounds of s3.lock: what is shorter protects nobody, and nothing undoes
	// what was locked for centuries by a slip.
	minLock = time.Minute
	maxLock = 3650 * day
)

// daysHook lets a duration be a whole number of days, "30d", too.
func daysHook(_, to reflect.Type, value any) (any, error) {
	text, ok := value.(string)
	if number, days := strings.CutSuffix(text, "d"); ok && days && to == reflect.TypeFor[time.Duration]() {
		if n, err := strconv.ParseUint(number, 10, 16); err == nil {
			return time.Duration(n) * day, nil //nolint:gosec // at most 65535
		}
	}
	return value, nil
}
