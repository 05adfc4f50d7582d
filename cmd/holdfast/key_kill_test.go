package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"holdfast/test/service"
)

// killed runs a command on a site that is slow, and kills it after a while; it says
// whether the command had ended before.
func (k *keyed) killed(t *testing.T, after time.Duration, args ...string) bool {
	t.Helper()
	args = append(args, "--data", k.Dir, "--set", "vault.requests_per_second=20")
	cmd := exec.CommandContext(t.Context(), service.Build(t), args...) // #nosec G204 -- our own binary
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return true
	case <-time.After(after):
	}
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	return <-ended == nil
}

// Rotations of every level are killed at random, beside a service that backs up
// all the while: whatever was done of one, the next backup completes, the same
// command ends it, and everything comes back. HOLDFAST_TEST_ROUNDS asks for more
// rounds.
func TestRotationsKilled(t *testing.T) {
	rounds := 3
	if n, err := strconv.Atoi(os.Getenv("HOLDFAST_TEST_ROUNDS")); err == nil {
		rounds = n
	}
	k := newKeyed(t)
	backups, cut := 1, 0
	again := func(args ...string) (r rotation) {
		t.Helper()
		after := time.Duration(rand.IntN(1500)) * time.Millisecond //nolint:gosec // any moment will do
		if !k.killed(t, after, args...) {
			cut++
		}
		k.backup(t)
		backups++
		if err := json.Unmarshal(k.Run(t, args...), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	for round := range rounds {
		switch round % 3 {
		case 0:
			again("key", "rotate-account", "--account", k.account.ID)
		case 1:
			if r := again("key", "rotate-data", "--account", k.account.ID); int(r.Epoch) < 2 {
				t.Errorf("round %d: %+v", round, r)
			}
		case 2:
			fresh, current := filepath.Join(k.Dir, fmt.Sprintf("fresh-%d.key", round)), filepath.Join(k.Dir, "master.key")
			k.Alone(t, "key", "create-master", fresh)
			again("key", "rotate-master", "--new-key", fresh)
			k.Stop(t)
			if err := os.Rename(fresh, current); err != nil {
				t.Fatal(err)
			}
			k.Start(t)
			if r := again("key", "rotate-master", "--finish"); !r.OldFinished {
				t.Errorf("round %d: %+v", round, r)
			}
		}
		k.proved(t, kit(t, k.Service, k.account), backups)
		if left := k.keyBlobs(t); len(left) != 2 {
			t.Errorf("round %d: key blobs: %v", round, left)
		}
	}
	t.Logf("%d commands were cut off", cut)
}
