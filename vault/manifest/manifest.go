// Package manifest describes one completed backup; storing its manifest is what completes it.
package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"holdfast/vault/bounded"
	"holdfast/vault/chunk"
)

const (
	// Prefix is where manifests lie, each under its backup's id.
	Prefix = "backups/"
	// MaxSize bounds an encoded manifest in bytes.
	MaxSize = 1 << 20
	// MaxDisk bounds an image's size in bytes.
	MaxDisk = 1 << 50

	format    = 1
	maxImages = 256
	maxLabels = 256
	maxText   = 4096
)

// ErrMalformed says that a manifest breaks the rules of the format.
var ErrMalformed = errors.New("malformed manifest")

// Manifest is one backup: the images of all disks at one point in time. Every
// backup reads as a full one, whatever it was made from.
type Manifest struct {
	Backup    string            // its id, and the name of its blob
	Session   string            // the session that wrote it
	CreatedAt time.Time         // the point in time of the data
	Labels    map[string]string // the caller's; the vault gives them no meaning
	Images    []Image
	Stats     Stats
	// RetainedUntil is a date, in whole seconds, before which the backup cannot be
	// deleted, and no tombstone hides it; zero for one that is not retained.
	RetainedUntil time.Time
}

// Image is the content of one disk.
type Image struct {
	Name    string
	Size    int64    // bytes
	Root    chunk.ID // of its tree; zero for a disk of zeros
	Point   string   // the caller's name of the point that change tracking began at
	Chunks  uint64   // chunks that hold anything but zeros
	Read    int64    // bytes read from the source for this backup
	Changed int64    // bytes of the chunks that differ from the parent's
	Stored  int64    // bytes this image added to the vault, sealed, its tree included
}

// Stats are the totals over a backup's images.
type Stats struct {
	ReadBytes     int64
	ChangedBytes  int64
	UploadedBytes int64 // everything sent to the vault, over all attempts of the session
}

type wire struct {
	Format    int               `json:"format"`
	Backup    string            `json:"backup"`
	Session   string            `json:"session"`
	CreatedAt time.Time         `json:"createdAt"`
	Labels    map[string]string `json:"labels,omitempty"`
	Images    wireImages        `json:"images"`
	Stats     wireStats         `json:"stats"`
	Retained  time.Time         `json:"retainedUntil,omitzero"`
}

type wireImages []wireImage

// UnmarshalJSON stops at the first image too many.
func (w *wireImages) UnmarshalJSON(data []byte) (err error) {
	*w, err = bounded.List(data, maxImages, func(wireImage) error { return nil })
	return err
}

type wireImage struct {
	Name    string `json:"name"`
	Size    int64  `json:"size"`
	Root    string `json:"root,omitempty"`
	Point   string `json:"point,omitempty"`
	Chunks  uint64 `json:"chunks"`
	Read    int64  `json:"readBytes"`
	Changed int64  `json:"changedBytes"`
	Stored  int64  `json:"storedBytes"`
}

type wireStats struct {
	ReadBytes     int64 `json:"readBytes"`
	ChangedBytes  int64 `json:"changedBytes"`
	UploadedBytes int64 `json:"uploadedBytes"`
}

// Encode checks and writes a manifest.
func Encode(m Manifest) ([]byte, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	w := wire{Format: format, Backup: m.Backup, Session: m.Session, CreatedAt: m.CreatedAt.UTC(), Labels: m.Labels, Stats: wireStats(m.Stats)}
	if !m.RetainedUntil.IsZero() {
		w.Retained = m.RetainedUntil.UTC().Truncate(time.Second)
	}
	for _, im := range m.Images {
		wi := wireImage{Name: im.Name, Size: im.Size, Point: im.Point, Chunks: im.Chunks, Read: im.Read, Changed: im.Changed, Stored: im.Stored}
		if !im.Root.IsZero() {
			wi.Root = im.Root.String()
		}
		w.Images = append(w.Images, wi)
	}
	data, err := json.Marshal(w)
	if err == nil && len(data) > MaxSize {
		err = fmt.Errorf("%w: %d bytes", ErrMalformed, len(data))
	}
	return data, err
}

// Decode reads and checks a manifest of at most MaxSize bytes.
func Decode(data []byte) (Manifest, error) {
	var w wire
	if len(data) > MaxSize {
		return Manifest{}, fmt.Errorf("%w: %d bytes", ErrMalformed, len(data))
	}
	if err := json.Unmarshal(data, &w); err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if w.Format != format {
		return Manifest{}, fmt.Errorf("%w: format %d", ErrMalformed, w.Format)
	}
	m := Manifest{Backup: w.Backup, Session: w.Session, CreatedAt: w.CreatedAt, Labels: w.Labels, Stats: Stats(w.Stats), RetainedUntil: w.Retained}
	for _, wi := range w.Images {
		im := Image{Name: wi.Name, Size: wi.Size, Point: wi.Point, Chunks: wi.Chunks, Read: wi.Read, Changed: wi.Changed, Stored: wi.Stored}
		if wi.Root != "" {
			root, err := chunk.ParseID(wi.Root)
			if err != nil {
				return Manifest{}, fmt.Errorf("%w: root of %q", ErrMalformed, wi.Name)
			}
			im.Root = root
		}
		m.Images = append(m.Images, im)
	}
	return m, m.Check()
}

// Check keeps the bounds that readers rely on.
func (m Manifest) Check() error {
	if m.Backup == "" || m.Session == "" || len(m.Images) > maxImages || len(m.Labels) > maxLabels {
		return fmt.Errorf("%w: backup %q", ErrMalformed, m.Backup)
	}
	for k, v := range m.Labels {
		if len(k) > maxText || len(v) > maxText {
			return fmt.Errorf("%w: a label is too long", ErrMalformed)
		}
	}
	seen := map[string]bool{}
	for _, im := range m.Images {
		if im.Name == "" || len(im.Name) > maxText || len(im.Point) > maxText || seen[im.Name] ||
			im.Size <= 0 || im.Size > MaxDisk || im.Root.IsZero() != (im.Chunks == 0) {
			return fmt.Errorf("%w: image %q", ErrMalformed, im.Name)
		}
		seen[im.Name] = true
	}
	return nil
}

// Retained reports whether the backup is retained at that time.
func (m Manifest) Retained(at time.Time) bool { return m.RetainedUntil.After(at) }

// Image returns the image of that name.
func (m Manifest) Image(name string) (Image, bool) {
	for _, im := range m.Images {
		if im.Name == name {
			return im, true
		}
	}
	return Image{}, false
}
