package main

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/blake3"
)

const (
	maxObject = 1<<20 + 64 // the largest manifest, sealed
	maxPack   = 64 << 20
	maxIndex  = 2 << 30
)

// vault is an open vault: its ring, its parameters, and the chunks it knows.
type vault struct {
	fsys      fs.FS
	ring      ring
	chunkSize int64
	ids       [2][]byte // the keys of chunk and node ids, by kind
	zstd      *zstd.Decoder
	places    map[chunkID][]place
	tables    bool // all packs' tables were read
}

func open(fsys fs.FS, key string) (*vault, error) {
	v := &vault{fsys: fsys}
	if err := v.unlock(key); err != nil {
		return nil, err
	}
	if err := v.parameters(); err != nil {
		return nil, fmt.Errorf("vault.json: %w", err)
	}
	v.ids[0] = derive("holdfast 2026 v1 id key to chunk ids", v.ring.idKey...)
	v.ids[1] = derive("holdfast 2026 v1 id key to node ids", v.ring.idKey...)
	return v, v.segments()
}

// parameters follows section 2.
func (v *vault) parameters() error {
	data, err := v.blob("vault.json", 1<<20)
	if err != nil {
		return err
	}
	var p struct {
		Format              int
		Vault               string
		ChunkSize, PackSize int64
		CreatedAt, MAC      string
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	text := fmt.Sprintf("%d\n%s\n%d\n%d\n%s\n", p.Format, p.Vault, p.ChunkSize, p.PackSize, p.CreatedAt)
	mac := keyed(derive("holdfast 2026 v1 id key to parameters", v.ring.idKey...), []byte(text))
	if hex.EncodeToString(mac) != p.MAC {
		return errors.New("its MAC is wrong")
	}
	if p.Format != 1 || p.ChunkSize < 4<<10 || p.ChunkSize > 4<<20 || p.ChunkSize&(p.ChunkSize-1) != 0 {
		return errors.New("another format")
	}
	v.chunkSize = p.ChunkSize
	window := uint64(1 << 14) // holds a node; the next power of two after 9252
	v.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxWindow(max(window, uint64(p.ChunkSize))), zstd.WithDecoderMaxMemory(uint64(v.maxPlain())))
	return err
}

// maxPlain is the longest plaintext of a chunk or node.
func (v *vault) maxPlain() int64 { return max(v.chunkSize, 36+256*36) }

// names lists the blobs whose names begin with a prefix, ascending.
func (v *vault) names(prefix string) ([]string, error) {
	var names []string
	dir := path.Dir(prefix + "x")
	err := fs.WalkDir(v.fsys, dir, func(name string, d fs.DirEntry, err error) error {
		if name == dir && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.Type().IsRegular() && strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
		return err
	})
	return names, err
}

// blob reads a whole blob of at most limit bytes.
func (v *vault) blob(name string, limit int64) ([]byte, error) {
	info, err := fs.Stat(v.fsys, name)
	if err != nil {
		return nil, err
	}
	return v.part(name, 0, info.Size(), limit)
}

// part reads size bytes of a blob, from off.
func (v *vault) part(name string, off, size, limit int64) ([]byte, error) {
	if off < 0 || size < 0 || size > limit {
		return nil, fmt.Errorf("%s: %d bytes at %d", name, size, off)
	}
	f, err := v.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	r, ok := f.(io.ReaderAt)
	if !ok {
		return nil, fmt.Errorf("%s: no random access", name)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(r, off, size), data); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

// unseal follows section 3.
func (v *vault) unseal(header []byte, kind byte, ordinal uint64, id [32]byte, plain uint32, codec byte, sealed []byte) ([]byte, error) {
	if len(header) < 48 || string(header[:4]) != "HOLD" || header[4] != 1 || header[5] != kind {
		return nil, errors.New("no header of this kind")
	}
	data, ok := v.ring.data[binary.LittleEndian.Uint32(header[8:])]
	if !ok {
		return nil, errors.New("sealed with a key that the ring has not")
	}
	key := derive("holdfast 2026 v1 data key and salt to sealing key", append(append([]byte{}, data...), header[16:48]...)...)
	ad := append([]byte{}, header[:48]...)
	ad = binary.LittleEndian.AppendUint64(ad, ordinal)
	ad = append(ad, id[:]...)
	ad = binary.LittleEndian.AppendUint32(ad, plain)
	return decrypt(key, binary.BigEndian.AppendUint64(make([]byte, 4), ordinal), sealed, append(ad, codec))
}

// object reads a blob that is one sealed payload.
func (v *vault) object(name string, kind byte) ([]byte, error) {
	data, err := v.blob(name, maxObject)
	if err != nil {
		return nil, err
	}
	if len(data) < 64 {
		return nil, errors.New("cut short")
	}
	return v.unseal(data[:48], kind, 0, blake3.Sum256([]byte(name)), uint32(len(data)-64), 0, data[48:])
}
