package chunk

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress"
	"github.com/klauspost/compress/zstd"
)

// Codec says how a payload was made from its plaintext.
type Codec byte

// The codecs.
const (
	Raw  Codec = 0
	Zstd Codec = 1
)

// ErrPayload says that a payload does not decode to exactly the declared length.
var ErrPayload = errors.New("chunk payload does not decode")

const (
	// What compression must save to be worth a decoder's time.
	minSaving = 32
	// Below this estimate a sample is taken for incompressible.
	minEstimate = 0.02
	sampleSize  = 4096
	samples     = 4
	// The thorough level costs 1.8 times the fast one. Of chunks whose middle the
	// fast level leaves above this share of its length (machine code, binaries) it
	// saves 3 to 4 hundredths of the plaintext, of others at most 1.
	worthThought = 0.45
	trialSize    = 8 << 10
)

// Encoder compresses chunks. It is not safe for concurrent use.
type Encoder struct {
	fast, thorough *zstd.Encoder
	buf            []byte
}

// NewEncoder returns an encoder for chunks of at most max bytes.
func NewEncoder(max int) (*Encoder, error) {
	e := &Encoder{buf: make([]byte, 0, max+max/64+64)}
	var err error
	if e.fast, err = newZstd(max, zstd.SpeedFastest); err == nil {
		e.thorough, err = newZstd(max, zstd.SpeedDefault)
	}
	if err != nil {
		return nil, fmt.Errorf("chunk encoder: %w", err)
	}
	return e, nil
}

func newZstd(max int, level zstd.EncoderLevel) (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false), zstd.WithWindowSize(windowFor(max)), zstd.WithSingleSegment(true))
}

// Encode returns a payload that is valid until the next call and may be the
// plaintext itself: what hardly shrinks is kept raw.
func (e *Encoder) Encode(plain []byte) (Codec, []byte) {
	if !compressible(plain) {
		return Raw, plain
	}
	level := e.fast
	if e.hard(plain) {
		level = e.thorough
	}
	e.buf = level.EncodeAll(plain, e.buf[:0])
	if len(e.buf) >= len(plain)-len(plain)/minSaving { // never as long as the plaintext: the format forbids it
		return Raw, plain
	}
	return Zstd, e.buf
}

// hard tries the fast level on the middle of a chunk. Noise is not hard: nothing
// helps it.
func (e *Encoder) hard(p []byte) bool {
	trial := p[len(p)/2:]
	trial = trial[:min(trialSize, len(trial))]
	e.buf = e.fast.EncodeAll(trial, e.buf[:0])
	return float64(len(e.buf)) > worthThought*float64(len(trial)) && len(e.buf) < len(trial)-len(trial)/minSaving
}

func compressible(p []byte) bool {
	if len(p) <= samples*sampleSize {
		return true
	}
	for i := range samples {
		off := i * (len(p) / samples)
		if compress.Estimate(p[off:off+sampleSize]) > minEstimate {
			return true
		}
	}
	return false
}

// Decoder decompresses chunks, and refuses bombs. It is not safe for concurrent use.
type Decoder struct{ z *zstd.Decoder }

// NewDecoder returns a decoder for chunks of at most max bytes.
func NewDecoder(max int) (*Decoder, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxWindow(uint64(windowFor(max))), zstd.WithDecoderMaxMemory(uint64(max)+1<<10)) //nolint:gosec // positive
	if err != nil {
		return nil, fmt.Errorf("chunk decoder: %w", err)
	}
	return &Decoder{z: z}, nil
}

// Slack is the room behind a plaintext that lets a decoder copy whole words to
// its very end: without it decoding takes a fifth longer.
const Slack = 64

// Decode returns the plaintext, which must be plainLen bytes long and fit into
// dst's capacity: in dst, or the payload itself when it is raw. It is faster when
// dst has Slack bytes more, whose content is undefined afterwards.
func (d *Decoder) Decode(dst []byte, codec Codec, payload []byte, plainLen int) ([]byte, error) {
	if plainLen < 0 || plainLen > cap(dst) {
		return nil, ErrPayload
	}
	switch codec {
	case Raw:
		if len(payload) != plainLen {
			return nil, ErrPayload
		}
		return payload, nil
	case Zstd:
		out, err := d.z.DecodeAll(payload, dst[:0:min(cap(dst), plainLen+Slack)])
		if err != nil || len(out) != plainLen {
			return nil, ErrPayload
		}
		return out, nil
	}
	return nil, fmt.Errorf("%w: codec %d", ErrPayload, codec)
}

// windowFor is the smallest zstd window that spans a chunk.
func windowFor(max int) int {
	w := zstd.MinWindowSize
	for w < max {
		w <<= 1
	}
	return w
}
