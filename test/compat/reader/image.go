package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"strings"
)

const maxDisk = 1 << 50

// manifest is what section 8's tells that a restore needs.
type manifest struct {
	Format  int
	Backup  string
	Session string
	Images  []image
}

type image struct {
	Name string
	Size int64
	Root string
}

// backups lists those that are complete.
func (v *vault) backups() ([]string, error) {
	names, err := v.names("backups/")
	if err != nil {
		return nil, err
	}
	var complete []string
	for _, name := range names {
		id := strings.TrimPrefix(name, "backups/")
		_, err := v.manifest(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		complete = append(complete, id) // a damaged one too: it is there
	}
	return complete, nil
}

// manifest reads one backup's, or is fs.ErrNotExist where it counts for nothing.
func (v *vault) manifest(backup string) (m manifest, err error) {
	if !part(backup) {
		return m, fmt.Errorf("%q is no id: %w", backup, fs.ErrNotExist)
	}
	if _, err := fs.Stat(v.fsys, "tombstones/backup-"+backup); !errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("backup %s is deleted: %w", backup, fs.ErrNotExist)
	}
	data, err := v.object("backups/"+backup, 'M')
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, err
	}
	if m.Format != 1 || m.Backup != backup || !part(m.Session) {
		return m, errors.New("manifest of another format or backup")
	}
	info, err := fs.Stat(v.fsys, "tombstones/session-"+m.Session)
	if err == nil && info.Size() == 0 {
		return m, fmt.Errorf("the session of backup %s was ended: %w", backup, fs.ErrNotExist)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	return m, nil
}

// part tells what may be one part of a blob's name.
func part(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsAny(s[:1], "-_.") && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == ""
}

// restore writes an image's chunks; w must read as zeros elsewhere.
func (v *vault) restore(i image, w io.WriterAt) error {
	if i.Size <= 0 || i.Size > maxDisk {
		return fmt.Errorf("image %q has %d bytes", i.Name, i.Size)
	}
	if i.Root == "" {
		return nil
	}
	root, err := hex.DecodeString(i.Root)
	if err != nil || len(root) != 32 {
		return fmt.Errorf("image %q: root %q", i.Name, i.Root)
	}
	t := tree{vault: v, w: w, size: i.Size, count: (i.Size + v.chunkSize - 1) / v.chunkSize}
	level := 0
	for n := int64(256); n < t.count; n *= 256 {
		level++
	}
	return t.walk([32]byte(root), level, 0)
}

type tree struct {
	*vault

	w           io.WriterAt
	size, count int64
}

// walk follows section 7: index is the node's place in its level.
func (t *tree) walk(id [32]byte, level int, index int64) error {
	n, err := t.chunk(1, id)
	if err != nil {
		return err
	}
	child := 36
	if level == 0 {
		child = 32
	}
	if len(n) < 36 || n[0] != 1 || int(n[1]) != level || n[2] != 0 || n[3] != 0 {
		return fmt.Errorf("node %x is none of level %d", id, level)
	}
	var there int
	for _, b := range n[4:36] {
		there += bits.OnesCount8(b)
	}
	if there == 0 || len(n) != 36+there*child {
		return fmt.Errorf("node %x: %d children in %d bytes", id, there, len(n))
	}
	rest := n[36:]
	for i := range int64(256) {
		if n[4+i/8]>>(i%8)&1 == 0 {
			continue
		}
		if err := t.child([32]byte(rest), level, index*256+i); err != nil {
			return err
		}
		rest = rest[child:]
	}
	return nil
}

func (t *tree) child(id [32]byte, level int, index int64) error {
	if index<<(8*level) >= t.count {
		return errors.New("a tree reaches beyond the end of its image")
	}
	if level > 0 {
		return t.walk(id, level-1, index)
	}
	data, err := t.chunk(0, id)
	if err != nil {
		return err
	}
	at := index * t.chunkSize
	if int64(len(data)) != min(t.chunkSize, t.size-at) {
		return fmt.Errorf("chunk %d has %d bytes", index, len(data))
	}
	_, err = t.w.WriteAt(data, at)
	return err
}

// chunk follows section 4: from any place, and proved.
func (v *vault) chunk(kind byte, id [32]byte) ([]byte, error) {
	fail := fs.ErrNotExist
	for range 2 {
		for _, p := range v.places[chunkID{kind, id}] {
			data, err := v.at(id, p)
			if err == nil {
				return data, nil
			}
			fail = err
		}
		if err := v.packTables(); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("chunk %x of kind %d: %w", id, kind, fail)
}

func (v *vault) at(id [32]byte, p place) ([]byte, error) {
	if int64(p.plain) > v.maxPlain() || int64(p.sealed) > int64(p.plain)+16 || p.codec > 1 {
		return nil, errors.New("larger than a chunk, or of an unknown codec")
	}
	header, err := v.part(p.pack, 0, 48, 48)
	if err != nil {
		return nil, err
	}
	sealed, err := v.part(p.pack, p.offset, int64(p.sealed), maxPack)
	if err != nil {
		return nil, err
	}
	data, err := v.unseal(header, 'P', p.ordinal, id, p.plain, p.codec, sealed)
	if err == nil && p.codec == 1 {
		data, err = v.zstd.DecodeAll(data, make([]byte, 0, p.plain))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.pack, err)
	}
	if len(data) != int(p.plain) || !bytes.Equal(keyed(v.ids[p.kind], data), id[:]) {
		return nil, fmt.Errorf("%s: the chunk is not what its id names", p.pack)
	}
	return data, nil
}
