package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"holdfast/compute/qemu/qmp"
)

// session is a conversation with the process that has a machine's disks open:
// its QEMU, or a storage daemon while it is stopped.
type session struct {
	*qmp.Client
	proc process
	live bool
	// layers of the disks in force, of a conversation about them.
	layers layers
}

type args map[string]any

func dialSession(ctx context.Context, socket string, proc process) (*session, error) {
	c, err := dialPeer(ctx, socket, proc)
	if err != nil {
		return nil, err
	}
	q, err := qmp.New(ctx, c)
	if err != nil {
		return nil, err
	}
	return &session{Client: q, proc: proc}, nil
}

// status is QEMU's run state, as "running", "paused", "shutdown".
func (s *session) status(ctx context.Context) (string, error) {
	var st struct {
		Status string `json:"status"`
	}
	err := s.Execute(ctx, "query-status", nil, &st)
	return st.Status, err
}

// bitmap is a dirty bitmap as the hypervisor describes it.
type bitmap struct {
	Name         string `json:"name"`
	Recording    bool   `json:"recording"`
	Busy         bool   `json:"busy"`
	Inconsistent bool   `json:"inconsistent"`
}

// nodes are all block nodes, with the bitmaps that are ours.
func (s *session) nodes(ctx context.Context) (map[string][]bitmap, error) {
	var list []struct {
		Name    string   `json:"node-name"`
		Bitmaps []bitmap `json:"dirty-bitmaps"`
	}
	if err := s.Execute(ctx, "query-named-block-nodes", args{"flat": true}, &list); err != nil {
		return nil, err
	}
	nodes := make(map[string][]bitmap, len(list))
	for _, n := range list {
		var ours []bitmap
		for _, b := range n.Bitmaps {
			if strings.HasPrefix(b.Name, bitmapPrefix) {
				ours = append(ours, b)
			}
		}
		nodes[n.Name] = ours
	}
	return nodes, nil
}

// drive is the node a disk's device reads and writes.
func (s *session) drive(ctx context.Context, disk string) (string, error) {
	var node string
	err := s.Execute(ctx, "qom-get", args{"path": diskDevice(disk), "property": "drive"}, &node)
	return node, err
}

func (s *session) setDrive(ctx context.Context, disk, node string) error {
	return s.Execute(ctx, "qom-set", args{"path": diskDevice(disk), "property": "drive", "value": node}, nil)
}

func (s *session) addNode(ctx context.Context, a args) error {
	return s.Execute(ctx, "blockdev-add", a, nil)
}

func (s *session) delNode(ctx context.Context, name string) error {
	return s.Execute(ctx, "blockdev-del", args{"node-name": name}, nil)
}

// exports are the ids of the block exports in force.
func (s *session) exports(ctx context.Context) (map[string]bool, error) {
	var list []struct {
		ID       string `json:"id"`
		Shutting bool   `json:"shutting-down"`
	}
	if err := s.Execute(ctx, "query-block-exports", nil, &list); err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, e := range list {
		ids[e.ID] = !e.Shutting
	}
	return ids, nil
}

// serve starts the NBD server of the process.
func (s *session) serve(ctx context.Context, socket string) error {
	if err := removeAll(socket); err != nil {
		return err
	}
	return s.Execute(ctx, "nbd-server-start", args{
		"addr": args{"type": "unix", "data": args{"path": socket}}, "max-connections": 0,
	}, nil)
}

// unserve ends the NBD server with its exports and their connections.
func (s *session) unserve(ctx context.Context) error {
	err := s.Execute(ctx, "nbd-server-stop", nil, nil)
	var refused *qmp.Error
	if errors.As(err, &refused) && strings.Contains(refused.Desc, "not running") {
		return nil
	}
	return err
}

// action is one of a transaction.
type action struct {
	Type string `json:"type"`
	Data args   `json:"data"`
}

func (s *session) transaction(ctx context.Context, actions []action) error {
	if len(actions) == 0 {
		return nil
	}
	return s.Execute(ctx, "transaction", args{"actions": actions}, nil)
}

// quit ends the process in order, so that bitmaps are saved, and returns when
// it is gone. One that has just ended by itself is as good.
func (s *session) quit(ctx context.Context) error {
	if err := s.Execute(ctx, "quit", nil, nil); err != nil && !errors.Is(err, qmp.ErrClosed) {
		return err
	}
	_ = s.Close() // never fails
	return s.proc.wait(ctx)
}

func blockdevJSON(a args) string {
	b, err := json.Marshal(a)
	if err != nil {
		panic(fmt.Sprintf("qemu: %v", err)) // strings and bools marshal
	}
	return string(b)
}
