package chunk_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"

	"holdfast/vault/chunk"
	"holdfast/vault/keys"
)

const size = 64 << 10

func codec(t testing.TB) (*chunk.Encoder, *chunk.Decoder) {
	t.Helper()
	e, err := chunk.NewEncoder(size)
	if err != nil {
		t.Fatal(err)
	}
	d, err := chunk.NewDecoder(size)
	if err != nil {
		t.Fatal(err)
	}
	return e, d
}

func TestCodec(t *testing.T) {
	e, d := codec(t)
	noise := make([]byte, size)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	for name, c := range map[string]struct {
		plain []byte
		want  chunk.Codec
	}{
		"text": {bytes.Repeat([]byte("some text "), size/10), chunk.Zstd}, "noise": {noise, chunk.Raw},
		"one byte": {[]byte{7}, chunk.Raw}, "odd": {append(noise[:100:100], make([]byte, 5000)...), chunk.Zstd},
		"noise, then text": {append(noise[:size/2:size/2], bytes.Repeat([]byte{'x'}, size/2)...), chunk.Zstd},
	} {
		got, payload := e.Encode(c.plain)
		if got != c.want {
			t.Errorf("%s: codec %d", name, got)
		}
		plain, err := d.Decode(make([]byte, size), got, payload, len(c.plain))
		if err != nil || !bytes.Equal(plain, c.plain) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := d.Decode(make([]byte, size), got, payload, len(c.plain)+1); len(c.plain) < size && !errors.Is(err, chunk.ErrPayload) {
			t.Errorf("%s, longer: %v", name, err)
		}
		if _, err := d.Decode(make([]byte, size), got, payload, len(c.plain)-1); !errors.Is(err, chunk.ErrPayload) {
			t.Errorf("%s, shorter: %v", name, err)
		}
	}
}

// code is like machine code: short words of a small vocabulary, with operands.
func code(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	words := make([][]byte, 400)
	for i := range words {
		for range 3 + r.IntN(6) {
			words[i] = append(words[i], byte(r.Uint32()))
		}
	}
	p := make([]byte, 0, size+8)
	for len(p) < size {
		p = append(append(p, words[r.IntN(1+r.IntN(len(words)))]...), byte(r.IntN(20)))
	}
	return p[:size]
}

// What stays long gets the thorough level; what becomes short, the fast one.
func TestThoroughWhereItPays(t *testing.T) {
	e, _ := codec(t)
	length := func(p []byte) int {
		_, payload := e.Encode(p)
		return len(payload)
	}
	level := func(l zstd.EncoderLevel, p []byte) int {
		z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(l), zstd.WithEncoderCRC(false), zstd.WithWindowSize(size), zstd.WithSingleSegment(true))
		if err != nil {
			t.Fatal(err)
		}
		return len(z.EncodeAll(p, nil))
	}
	hard, easy := code(1), code(2)
	for n := 4 << 10; n < size; n += 1 << 10 { // 1 KiB again and again, with something new between
		copy(easy[n:n+900], easy)
	}
	fastHard, fastEasy := level(zstd.SpeedFastest, hard), level(zstd.SpeedFastest, easy)
	thoroughHard := level(zstd.SpeedDefault, hard)
	if fastHard < size*4/10 || thoroughHard >= fastHard || fastEasy > size*4/10 || level(zstd.SpeedDefault, easy) == fastEasy {
		t.Fatalf("the samples do not tell the levels apart: %d, %d; %d", fastHard, thoroughHard, fastEasy)
	}
	if n := length(easy); n != fastEasy {
		t.Errorf("the easy chunk takes %d bytes, at the fast level %d", n, fastEasy)
	}
	if n := length(hard); n != thoroughHard {
		t.Errorf("the hard chunk takes %d bytes, at the thorough level %d", n, thoroughHard)
	}
}

// However short a disk's tail is, a compressed payload is shorter than it.
func TestShortTails(t *testing.T) {
	e, d := codec(t)
	for n := 1; n <= 300; n++ {
		for _, unit := range []string{"a", "ab", "abcdefg", "0123456789abcdefghijklmnopqrst"} {
			plain := bytes.Repeat([]byte(unit), n)[:n]
			c, payload := e.Encode(plain)
			if (c == chunk.Zstd && len(payload) >= n) || (c == chunk.Raw && len(payload) != n) {
				t.Fatalf("%d bytes: codec %d with %d bytes", n, c, len(payload))
			}
			if got, err := d.Decode(make([]byte, size), c, payload, n); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("%d bytes: %v", n, err)
			}
		}
	}
}

// A frame that does not declare its length may fill the slack, and is refused.
func TestFrameIntoTheSlack(t *testing.T) {
	_, d := codec(t)
	plain := bytes.Repeat([]byte("text "), 1000)
	var frame bytes.Buffer
	z, err := zstd.NewWriter(&frame, zstd.WithWindowSize(zstd.MinWindowSize<<2))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range [][]byte{plain[:2500], plain[2500:]} {
		if _, err := z.Write(p); err != nil {
			t.Fatal(err)
		}
		if err := z.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, size+chunk.Slack)
	if got, err := d.Decode(dst, chunk.Zstd, frame.Bytes(), len(plain)); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("the whole frame: %v", err)
	}
	for _, n := range []int{len(plain) - 1, len(plain) - chunk.Slack, len(plain) - chunk.Slack - 1, len(plain) + 1} {
		if _, err := d.Decode(dst, chunk.Zstd, frame.Bytes(), n); !errors.Is(err, chunk.ErrPayload) {
			t.Errorf("as %d bytes: %v", n, err)
		}
	}
}

// A holder of the data key could seal a frame that swells to gigabytes.
func TestBomb(t *testing.T) {
	_, d := codec(t)
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb := z.EncodeAll(make([]byte, 1<<30), nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := d.Decode(make([]byte, size), chunk.Zstd, bomb, size); !errors.Is(err, chunk.ErrPayload) {
		t.Errorf("bomb: %v", err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("%d bytes allocated", n)
	}
}

func TestIDs(t *testing.T) {
	ring := keys.NewRing()
	h := chunk.NewHasher(ring)
	a := h.Sum(chunk.Data, []byte("x"))
	if a != chunk.NewHasher(ring).Sum(chunk.Data, []byte("x")) {
		t.Error("an id is not stable")
	}
	if a == h.Sum(chunk.Node, []byte("x")) || a == chunk.NewHasher(keys.NewRing()).Sum(chunk.Data, []byte("x")) || a == h.Sum(chunk.Data, []byte("y")) {
		t.Error("different things share an id")
	}
	if got, err := chunk.ParseID(a.String()); err != nil || got != a {
		t.Errorf("parse: %v", err)
	}
	for _, bad := range []string{"", "00", a.String() + "00", "zz" + a.String()[2:]} {
		if _, err := chunk.ParseID(bad); err == nil {
			t.Errorf("%q parsed", bad)
		}
	}
}

func TestIsZeros(t *testing.T) {
	p := make([]byte, 10000)
	if !chunk.IsZeros(p) || !chunk.IsZeros(nil) {
		t.Error("zeros not seen")
	}
	for i := range p {
		p[i] = 1
		if chunk.IsZeros(p) {
			t.Fatalf("byte %d not seen", i)
		}
		p[i] = 0
	}
}

func FuzzDecode(f *testing.F) {
	e, d := codec(f)
	_, payload := e.Encode(bytes.Repeat([]byte("seed "), 1000))
	f.Add(byte(1), bytes.Clone(payload), 5000)
	f.Add(byte(0), []byte("raw"), 3)
	f.Add(byte(2), []byte("x"), 1)
	dst := make([]byte, size)
	f.Fuzz(func(t *testing.T, c byte, payload []byte, n int) {
		if n < 0 || n > size {
			return
		}
		plain, err := d.Decode(dst, chunk.Codec(c), payload, n)
		if err == nil && len(plain) != n {
			t.Errorf("%d bytes, want %d", len(plain), n)
		}
	})
}
