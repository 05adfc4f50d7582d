package sim

import (
	"context"
	"errors"
	"io"

	"holdfast/disk/file"
)

// copySparse copies a raw file with its holes; the copy must not exist.
func copySparse(from, to string) (err error) {
	source, err := file.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	sink, err := file.Create(to, source.Size())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sink.Close()) }()
	for e, err := range source.Extents(context.Background()) {
		if err != nil {
			return err
		}
		if e.Zero {
			continue
		}
		piece := io.NewSectionReader(source, e.Offset, e.Length)
		if _, err := io.Copy(io.NewOffsetWriter(sink, e.Offset), piece); err != nil {
			return err
		}
	}
	return nil
}
