package qemu

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// Records of processes in a machine's directory, which no hypervisor can write.
const (
	recordQEMU   = "qemu.pid.json"
	recordPoint  = "point.pid.json"
	recordSuffix = ".pid.json"
	logQEMU      = "qemu.log"
)

func fillRecord(disk string) string { return "fill-" + disk + recordSuffix }

// processes are those of the machine that run: QEMU and storage daemons.
func (d *Driver) processes(id string) ([]process, error) {
	found := map[process]bool{}
	paths, err := filepath.Glob(filepath.Join(d.dir(id), "*"+recordSuffix))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		var p process
		if _, err := readJSON(path, &p); err != nil {
			return nil, err
		}
		if p.alive() {
			found[p] = true
		}
	}
	// A process whose starter was killed before it wrote the record is found
	// by the socket it listens on.
	entries, err := os.ReadDir(d.runDir(id))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if p, ok := listener(d.socket(id, e.Name())); ok {
			found[p] = true
		}
	}
	var procs []process
	for p := range found {
		procs = append(procs, p)
	}
	return procs, nil
}

// find says whether the process of a record, or else of a socket, runs.
func (d *Driver) find(id, record, socket string) (process, bool, error) {
	var p process
	if _, err := readJSON(d.file(id, record), &p); err != nil {
		return p, false, err
	}
	if p.alive() {
		return p, true, nil
	}
	if p, ok := listener(d.socket(id, socket)); ok {
		d.remember(d.file(id, record), p)
		return p, true, nil
	}
	return process{}, false, nil
}

// remember writes a record. A full disk must not keep a guest from running, nor
// make it look stopped: without a record its socket tells.
func (d *Driver) remember(record string, p process) {
	if err := writeJSON(record, p); err != nil {
		d.log.Warn("process was not recorded", "pid", p.PID, "error", err)
	}
}

// running says whether the machine's QEMU runs, and which process it is.
func (d *Driver) running(id string) (process, bool, error) {
	return d.find(id, recordQEMU, socketQMP)
}

// endFills ends storage daemons that fill disks of the machine.
func (d *Driver) fills(id string) ([]process, error) {
	var procs []process
	paths, err := filepath.Glob(d.file(id, "fill-*"+recordSuffix))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		disk := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "fill-"), recordSuffix)
		p, alive, err := d.find(id, filepath.Base(path), fillSocket(disk)+".qmp")
		if err != nil {
			return nil, err
		}
		if alive {
			procs = append(procs, p)
		}
	}
	return procs, nil
}

// connect opens the machine's QEMU for a conversation.
func (d *Driver) connect(ctx context.Context, id string, p process) (*session, error) {
	s, err := dialSession(ctx, d.socket(id, socketQMP), p)
	if err != nil {
		return nil, err
	}
	s.live = true
	if s.layers, err = d.layers(id, current); err != nil {
		_ = s.Close() // never fails
		return nil, err
	}
	return s, nil
}
