package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"holdfast/compute"
)

// state is all that the host knows about a machine, one file of JSON that is
// replaced at once: what it does not name does not exist.
type state struct {
	Machine compute.Machine    `json:"machine"`
	Power   compute.PowerState `json:"power"`
	// Boot counts the hypervisor processes of the machine.
	Boot    int       `json:"boot"`
	Started time.Time `json:"started"`
	// PoweredOff: the guest has powered the machine off itself.
	PoweredOff bool `json:"poweredOff,omitempty"`
	// Point is the open point in time.
	Point *openPoint `json:"point,omitempty"`
	// The generation in force; its disks are those of Machine.
	generation
	// Others are the generations that are not in force.
	Others []generation `json:"others,omitempty"`
}

// generation is a set of disks, with all that belongs to it.
type generation struct {
	Name string `json:"name"`
	// Disks of a generation that is not in force.
	Disks []compute.Disk `json:"disks,omitempty"`
	// Tracking is, for each disk, its bitmaps, the oldest first. At most the
	// last one records; two exist while a point is open.
	Tracking map[string][]bitmap `json:"tracking"`
	// Fills counts, for each disk, how often it was opened to be filled.
	Fills map[string]int `json:"fills"`
	// Ready: it was in force once, or may be.
	Ready bool `json:"ready"`
	// Snapshots of it, the oldest first.
	Snapshots []snapshot `json:"snapshots,omitempty"`
	// Rollback is the snapshot that its disks are being put back to.
	Rollback string `json:"rollback,omitempty"`
}

// bitmap says what was written since a point; its content is a file with one
// byte for each chunk.
type bitmap struct {
	Point compute.Point `json:"point"`
	// Inconsistent: the hypervisor died before it could write it down.
	Inconsistent bool `json:"inconsistent,omitempty"`
}

// openPoint is a point in time that has not ended.
type openPoint struct {
	Name compute.Point `json:"name"`
	// Boot is the process that keeps it, 0 for one of a stopped machine.
	Boot int `json:"boot"`
	// Scratch is how many bytes the guest has overwritten since.
	Scratch int64 `json:"scratch"`
}

func (h *Host) load(machine string) (*state, error) {
	if !machineIDs.MatchString(machine) {
		return nil, fmt.Errorf("sim: machine %q: %w", machine, compute.ErrNotFound)
	}
	raw, err := os.ReadFile(filepath.Join(h.machineDir(machine), "state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("sim: machine %q: %w", machine, compute.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	s := new(state)
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("sim: machine %q: %w", machine, err)
	}
	if s.Rollback != "" {
		if err := h.redo(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (h *Host) store(s *state) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	path := filepath.Join(h.machineDir(s.Machine.ID), "state.json")
	if err := os.WriteFile(path+".new", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// generationDir is where the disks of a generation lie.
func (h *Host) generationDir(machine, name string) string {
	return filepath.Join(h.machineDir(machine), "gen-"+name)
}

// diskPath is that of a disk of the generation in force.
func (h *Host) diskPath(s *state, disk string) string {
	return filepath.Join(h.generationDir(s.Machine.ID, s.Name), disk+".raw")
}

// mustHave refuses the name of a disk that the machine does not have.
func (s *state) mustHave(disk string) error {
	for _, d := range s.Machine.Disks {
		if d.Name == disk {
			return nil
		}
	}
	return fmt.Errorf("sim: machine %q has no disk %q", s.Machine.ID, disk)
}
