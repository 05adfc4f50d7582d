package control

import (
	"context"
	"fmt"
	"slices"
	"time"

	"holdfast"
	"holdfast/store"
)

// The bounds of a VPS that an operator makes.
const (
	sector    = 512
	maxDisk   = int64(64) << 40
	maxDisks  = 16
	maxCores  = 512
	maxMemory = 16 << 20 // MiB
	maxPorts  = 32
)

// VPSInfo is a VPS as its operator sees it.
type VPSInfo struct {
	ID        string                   `json:"id"`
	Account   string                   `json:"account"`
	Region    string                   `json:"region"`
	Host      string                   `json:"host"`
	Name      string                   `json:"name"`
	Service   holdfast.ServiceStatus   `json:"serviceStatus"`
	Power     holdfast.PowerState      `json:"powerState"`
	Desired   holdfast.PowerState      `json:"desired"`
	CPUCores  int                      `json:"cpuCores"`
	MemoryMiB int                      `json:"memoryMiB"`
	Disks     []holdfast.VPSDisk       `json:"disks"`
	Ports     []holdfast.ForwardedPort `json:"forwardedPorts"`
	PrimaryIP string                   `json:"primaryIp,omitzero"`
	IsPayg    bool                     `json:"isPayg"`
	CreatedAt time.Time                `json:"createdAt"`
}

func vpsInfo(v holdfast.VPS) VPSInfo {
	return VPSInfo{
		ID: v.ID.String(), Account: v.AccountID.String(), Region: v.Region, Host: v.HostID.String(), Name: v.Name,
		Service: v.Service, Power: v.Power, Desired: v.Desired, CPUCores: v.CPUCores, MemoryMiB: v.MemoryMiB,
		Disks: v.Disks, Ports: v.Ports, PrimaryIP: v.PrimaryIP, IsPayg: v.Billing.IsPayg, CreatedAt: v.CreatedAt,
	}
}

// CreateVPSInput describes a new VPS.
type CreateVPSInput struct {
	Account    string  `json:"account"` // id or name
	Name       string  `json:"name"`
	Image      string  `json:"image"`           // an image's name
	Region     *string `json:"region"`          // default: the default region
	CPUCores   int     `json:"cpuCores"`        // at least 1
	MemoryMiB  int     `json:"memoryMiB"`       // at least 32
	DiskBytes  *int64  `json:"diskBytes"`       // of the first disk; default: the image's size
	ExtraDisks []int64 `json:"extraDisksBytes"` // empty disks, their sizes in bytes
	Forward    []int   `json:"forward"`         // guest ports; default: those of the configuration
	PrimaryIP  string  `json:"primaryIp,omitzero"`
	Start      *bool   `json:"start"` // default true
}

// VPSJob is what a command on a VPS answers: the operation that does it.
type VPSJob struct {
	VPS   string `json:"vps"`
	JobID string `json:"jobId"`
}

// CreateVPS places a VPS on a host, and queues its making and start.
func (c *Control) CreateVPS(ctx context.Context, in CreateVPSInput) (VPSJob, error) {
	if err := Invalid(in.faults()); err != nil {
		return VPSJob{}, err
	}
	var out VPSJob
	err := c.write(ctx, "control.CreateVPS", func(tx *store.Tx) error {
		q := tx.Queries()
		a, err := findAccount(ctx, q, in.Account)
		if err != nil {
			return err
		}
		image, err := q.OSImageByName(ctx, in.Image)
		if err != nil {
			return missing(err, holdfast.CodeNotFound, "There is no image \""+shown(in.Image)+"\". Import it first.")
		}
		region, err := chooseRegion(ctx, q, in.Region, "")
		if err != nil {
			return missing(err, holdfast.CodeRegionUnknown, "There is no default region. Name one.")
		}
		disks, err := in.disks(image)
		if err != nil {
			return err
		}
		v := holdfast.VPS{
			ID: holdfast.NewID[holdfast.VPSID](), AccountID: a.ID, Region: region.ID, Name: in.Name, OS: &image.OS,
			Service: holdfast.ServiceActive, Power: holdfast.PowerProvisioning, Desired: holdfast.PowerRunning,
			CPUCores: in.CPUCores, MemoryMiB: in.MemoryMiB, Disks: disks, Boot: image.Boot, MAC: newMAC(),
			PrimaryIP: in.PrimaryIP, Generation: 1, Billing: holdfast.Billing{Currency: c.options.Currency, Cycle: "monthly"},
		}
		if in.Start != nil && !*in.Start {
			v.Desired = holdfast.PowerStopped
		}
		forward := in.Forward
		if forward == nil {
			forward = c.options.DefaultForward
		}
		out, err = c.placeVPS(ctx, tx, v, forward, &holdfast.DiskImage{Path: image.Disk, Format: image.Format})
		return err
	})
	return out, err
}

func (c *Control) placeVPS(ctx context.Context, tx *store.Tx, v holdfast.VPS, forward []int, image *holdfast.DiskImage) (VPSJob, error) {
	host, err := chooseHost(ctx, tx.Queries(), v.Region, holdfast.CloudResources{
		CPUCores: v.CPUCores, MemoryGb: v.MemoryGb(), StorageGb: v.StorageGb(), Instances: 1,
	})
	if err != nil {
		return VPSJob{}, err
	}
	v.HostID = host.ID
	if v.CreatedAt, err = tx.Now(ctx); err != nil {
		return VPSJob{}, err
	}
	if err := tx.InsertVPS(ctx, v); err != nil {
		return VPSJob{}, err
	}
	return enqueueOn(ctx, tx, v, holdfast.KindVPSCreate, holdfast.LockData, c.machine(v, forward, image))
}

// enqueueOn queues an operator's operation on a VPS.
func enqueueOn(ctx context.Context, tx *store.Tx, v holdfast.VPS, kind holdfast.Kind, lock holdfast.Lock, input any) (VPSJob, error) {
	o, err := enqueue(ctx, tx, holdfast.Operation{Kind: kind, AccountID: v.AccountID, VPSID: v.ID, HostID: v.HostID, Lock: lock}, input)
	return VPSJob{VPS: v.ID.String(), JobID: o.ID.String()}, err
}

func (in CreateVPSInput) faults() []holdfast.Field {
	faults := faultsOf(holdfast.CheckName(in.Name))
	bad := func(ok bool, pointer, detail string) {
		if !ok {
			faults = append(faults, holdfast.Field{Pointer: pointer, Detail: detail, Code: holdfast.CodeInvalidValue})
		}
	}
	bad(in.CPUCores >= 1 && in.CPUCores <= maxCores, "/cpuCores", fmt.Sprintf("This must be from 1 to %d.", maxCores))
	bad(in.MemoryMiB >= 32 && in.MemoryMiB <= maxMemory, "/memoryMiB", fmt.Sprintf("This must be from 32 to %d.", maxMemory))
	bad(in.DiskBytes == nil || goodDisk(*in.DiskBytes), "/diskBytes", diskWords)
	bad(len(in.ExtraDisks) < maxDisks, "/extraDisksBytes", fmt.Sprintf("A VPS has at most %d disks.", maxDisks))
	bad(!slices.ContainsFunc(in.ExtraDisks, func(n int64) bool { return !goodDisk(n) }), "/extraDisksBytes", diskWords)
	bad(len(in.Forward) <= maxPorts && !slices.ContainsFunc(in.Forward, func(p int) bool { return p < 1 || p > 65535 }),
		"/forward", fmt.Sprintf("At most %d ports, each from 1 to 65535.", maxPorts))
	return faults
}

const diskWords = "A disk has a multiple of 512 bytes, at most 64 TiB."

func goodDisk(n int64) bool { return n > 0 && n <= maxDisk && n%sector == 0 }

// disks are those of the new VPS: the image's, then the empty ones.
func (in CreateVPSInput) disks(image holdfast.OSImage) ([]holdfast.VPSDisk, error) {
	first := image.SizeBytes
	if in.DiskBytes != nil {
		first = *in.DiskBytes
	}
	if first < image.SizeBytes {
		return nil, Invalid([]holdfast.Field{{Pointer: "/diskBytes", Code: holdfast.CodeInvalidValue,
			Detail: fmt.Sprintf("The disk must have at least the %d bytes of its image.", image.SizeBytes)}})
	}
	var out []holdfast.VPSDisk
	for i, n := range append([]int64{first}, in.ExtraDisks...) {
		out = append(out, holdfast.VPSDisk{Name: fmt.Sprintf("disk%d", i), SizeBytes: n})
	}
	return out, nil
}
