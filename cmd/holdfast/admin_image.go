package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"holdfast"
	"holdfast/control"
)

func (a *admin) imageCommands() []*cobra.Command {
	var in control.ImportOSImageInput
	load := a.command("import --name NAME --disk FILE --format FORMAT", "Make an OS image known; the files stay where they are", cobra.NoArgs, func(cmd *cobra.Command, _ []string) (err error) {
		for _, path := range []*string{&in.Disk, &in.Kernel, &in.Initrd} {
			if *path != "" && a.direct != nil {
				if *path, err = filepath.Abs(*path); err != nil {
					return err
				}
			}
		}
		if in.SizeBytes == 0 && a.direct != nil {
			if in.SizeBytes, err = virtualSize(in.Disk, in.Format); err != nil {
				return holdfast.Wrap(holdfast.CodeInvalidRequest, "image", "The disk's size cannot be read.", err)
			}
		}
		out, err := call[control.OSImageInfo](cmd.Context(), a, "image-import", in)
		if err != nil {
			return err
		}
		return a.print(cmd.OutOrStdout(), out)
	})
	f := load.Flags()
	f.StringVar(&in.Name, "name", "", "name, unique")
	f.StringVar(&in.Disk, "disk", "", "file of the disk, on the host")
	f.StringVar(&in.Format, "format", "", "raw or qcow2; never guessed")
	f.Int64Var(&in.SizeBytes, "size-bytes", 0, "virtual size of the disk; read from the file when it is on this machine")
	f.StringVar(&in.Kernel, "kernel", "", "kernel for a direct boot")
	f.StringVar(&in.Initrd, "initrd", "", "initial RAM disk for a direct boot")
	f.StringVar(&in.Cmdline, "cmdline", "", "kernel command line for a direct boot")
	f.StringVar(&in.DisplayName, "os-name", "", "name of the system, for customers")
	f.StringVar(&in.Family, "os-family", "", "family of the system, such as linux")
	f.StringVar(&in.Version, "os-version", "", "version of the system")
	f.StringVar(&in.Variant, "os-variant", "", "variant of the system")
	list := a.command("list", "List the OS images", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		out, err := call[[]control.OSImageInfo](cmd.Context(), a, "image-list", struct{}{})
		if err != nil {
			return err
		}
		return a.print(cmd.OutOrStdout(), out)
	})
	return []*cobra.Command{load, list}
}

// virtualSize is the size in bytes of the disk that a file holds: the file's own
// for raw, the header's for qcow2 (QEMU, docs/interop/qcow2.txt: bytes 24 to
// 31, big-endian).
func virtualSize(path, format string) (_ int64, err error) {
	f, err := os.Open(path) // #nosec G304 -- the operator names it
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if format != "qcow2" {
		info, err := f.Stat()
		if err != nil {
			return 0, err
		}
		return info.Size(), nil
	}
	var head [32]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return 0, err
	}
	size := binary.BigEndian.Uint64(head[24:])
	if string(head[:4]) != "QFI\xfb" || size > 1<<62 {
		return 0, fmt.Errorf("%s is not a qcow2 file", path)
	}
	return int64(size), nil
}
