package control

import (
	"context"
	"path/filepath"

	"holdfast"
	"holdfast/store"
)

// OSImageInfo is what a new VPS can begin with. The paths are on the host.
type OSImageInfo struct {
	ID        string                   `json:"id,omitzero"`
	Name      string                   `json:"name"`
	OS        holdfast.OperatingSystem `json:"os,omitzero"`
	Disk      string                   `json:"disk"`
	Format    string                   `json:"format"` // "raw" or "qcow2", never guessed
	SizeBytes int64                    `json:"sizeBytes"`
	Kernel    string                   `json:"kernel,omitzero"`
	Initrd    string                   `json:"initrd,omitzero"`
	Cmdline   string                   `json:"cmdline,omitzero"`
}

// ImportOSImageInput describes an image.
type ImportOSImageInput struct {
	Name      string `json:"name"`
	Disk      string `json:"disk"`
	Format    string `json:"format"`
	SizeBytes int64  `json:"sizeBytes"`
	Kernel    string `json:"kernel,omitzero"`
	Initrd    string `json:"initrd,omitzero"`
	Cmdline   string `json:"cmdline,omitzero"`

	DisplayName string `json:"displayName,omitzero"` // default: the name
	Family      string `json:"family,omitzero"`
	Version     string `json:"version,omitzero"`
	Variant     string `json:"variant,omitzero"`
}

// ImportOSImage makes an image known, or changes the one of that name. The files
// stay where they are.
func (c *Control) ImportOSImage(ctx context.Context, in ImportOSImageInput) (OSImageInfo, error) {
	if err := Invalid(in.faults()); err != nil {
		return OSImageInfo{}, err
	}
	if in.DisplayName == "" {
		in.DisplayName = in.Name
	}
	i := holdfast.OSImage{
		ID: holdfast.NewID[holdfast.OSImageID](), Name: in.Name, Disk: in.Disk, Format: in.Format, SizeBytes: in.SizeBytes,
		OS:   holdfast.OperatingSystem{DisplayName: in.DisplayName, Family: in.Family, Version: in.Version, Variant: in.Variant},
		Boot: holdfast.Boot{Kernel: in.Kernel, Initrd: in.Initrd, Cmdline: in.Cmdline},
	}
	err := c.write(ctx, "control.ImportOSImage", func(tx *store.Tx) error {
		var err error
		if i.CreatedAt, err = tx.Now(ctx); err != nil {
			return err
		}
		if err := tx.PutOSImage(ctx, i); err != nil {
			return err
		}
		i, err = tx.OSImageByName(ctx, i.Name)
		return err
	})
	return osImageInfo(i), err
}

func (in ImportOSImageInput) faults() []holdfast.Field {
	faults := checkLabel(in.Name)
	bad := func(pointer, detail string) {
		faults = append(faults, holdfast.Field{Pointer: pointer, Detail: detail, Code: holdfast.CodeInvalidValue})
	}
	for _, f := range []struct{ pointer, path string }{{"/disk", in.Disk}, {"/kernel", in.Kernel}, {"/initrd", in.Initrd}} {
		if (f.path != "" || f.pointer == "/disk") && !filepath.IsAbs(f.path) {
			bad(f.pointer, "This must be an absolute path on the host.")
		}
	}
	if in.Format != "raw" && in.Format != "qcow2" {
		bad("/format", "The format must be raw or qcow2; it is never guessed.")
	}
	if in.SizeBytes <= 0 || in.SizeBytes%sector != 0 || in.SizeBytes > maxDisk {
		bad("/sizeBytes", "This must be the virtual size of the disk in bytes, a multiple of 512.")
	}
	return faults
}

// ListOSImages lists all images by name.
func (c *Control) ListOSImages(ctx context.Context) ([]OSImageInfo, error) {
	images, err := c.store.OSImages(ctx)
	return each(images, osImageInfo), told("control.ListOSImages", err)
}

func osImageInfo(i holdfast.OSImage) OSImageInfo {
	return OSImageInfo{
		ID: i.ID.String(), Name: i.Name, OS: i.OS, Disk: i.Disk, Format: i.Format, SizeBytes: i.SizeBytes,
		Kernel: i.Boot.Kernel, Initrd: i.Boot.Initrd, Cmdline: i.Boot.Cmdline,
	}
}
