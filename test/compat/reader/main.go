// Command reader restores disks from a vault by what FORMAT.md says, with none
// of Holdfast's code: what it cannot read, the document does not tell.
package main

import (
	"fmt"
	"io"
	"os"
)

const usage = `usage: reader VAULT KEY                     the backups and their images
       reader VAULT KEY BACKUP IMAGE FILE   one image, raw, to a new file

VAULT is a directory; KEY a file: a recovery kit or a master key.`

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "reader:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) != 2 && len(args) != 5 {
		return fmt.Errorf("%s", usage)
	}
	key, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(args[0])
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	v, err := open(root.FS(), string(key))
	if err != nil {
		return err
	}
	if len(args) == 2 {
		return v.list(out)
	}
	return v.recover(args[2], args[3], args[4])
}

func (v *vault) list(out io.Writer) error {
	backups, err := v.backups()
	if err != nil {
		return err
	}
	for _, b := range backups {
		m, err := v.manifest(b)
		if err != nil {
			return fmt.Errorf("backup %s: %w", b, err)
		}
		for _, i := range m.Images {
			if _, err := fmt.Fprintf(out, "%s\t%s\t%d\n", b, i.Name, i.Size); err != nil {
				return err
			}
		}
	}
	return nil
}

// recover leaves no file that is not whole.
func (v *vault) recover(backup, image, file string) error {
	m, err := v.manifest(backup)
	if err != nil {
		return err
	}
	for _, i := range m.Images {
		if i.Name != image {
			continue
		}
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		if err = f.Truncate(i.Size); err == nil {
			err = v.restore(i, f)
		}
		if closed := f.Close(); err == nil {
			err = closed
		}
		if err != nil {
			_ = os.Remove(file)
		}
		return err
	}
	return fmt.Errorf("backup %s has no image %q", backup, image)
}
