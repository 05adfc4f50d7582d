package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
)

// fill writes mb MiB to the file path= or to the device dev= from at= MiB on,
// and syncs. kind=random (the default) cannot be compressed, kind=text can,
// kind=zero is zeros; seed= makes other random bytes.
func fill(r *http.Request) (string, error) {
	query := r.URL.Query()
	mb, err := number(query, "mb", 1)
	if err != nil {
		return "", err
	}
	at, err := number(query, "at", 0)
	if err != nil {
		return "", err
	}
	seed, err := number(query, "seed", 1)
	if err != nil {
		return "", err
	}
	next, err := pattern(query.Get("kind"), uint64(seed))
	if err != nil {
		return "", err
	}
	path, flags := query.Get("path"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC
	if device := query.Get("dev"); device != "" {
		path, flags = device, os.O_WRONLY
	}
	f, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		return "", err
	}
	block := make([]byte, 1<<20)
	for i := range mb {
		next(block)
		if _, err := f.WriteAt(block, (at+i)<<20); err != nil {
			return "", errors.Join(err, f.Close())
		}
	}
	return "ok", errors.Join(f.Sync(), f.Close())
}

// number is a query parameter that is not negative.
func number(query url.Values, name string, fallback int64) (int64, error) {
	text := query.Get(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s=%q is not a number", name, text)
	}
	return n, nil
}

// pattern returns what fills one block after the other.
func pattern(kind string, seed uint64) (func([]byte), error) {
	source := rand.NewPCG(seed, seed)
	switch kind {
	case "", "random":
		return func(block []byte) {
			for i := 0; i < len(block); i += 8 {
				binary.LittleEndian.PutUint64(block[i:], source.Uint64())
			}
		}, nil
	case "text":
		return func(block []byte) {
			line := fmt.Appendf(nil, "line %x of a text that repeats itself, as texts do\n", source.Uint64())
			for i := 0; i < len(block); i += len(line) {
				copy(block[i:], line)
			}
		}, nil
	case "zero":
		return func([]byte) {}, nil
	}
	return nil, fmt.Errorf("kind=%q: random, text or zero", kind)
}
