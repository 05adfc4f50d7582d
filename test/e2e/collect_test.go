package e2e

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"holdfast/test/service"
)

// TestCollect: a deleted backup's space is free after the next collection, and
// what it shared with another is not.
func TestCollect(t *testing.T) {
	const size = 48 * mib
	s := service.New(t, service.Set("vault.collect_after", "0"))
	owner := s.NewAccount(t, "owner")
	gone := s.NewVPS(t, owner.ID, rawImage(t, s, "gone", size), "gone-01", false)
	stays := s.NewVPS(t, owner.ID, rawImage(t, s, "stays", size/2), "stays-01", false)
	doomed, kept := backup(t, s, owner.Key, gone), backup(t, s, owner.Key, stays)
	before := stored(t, s)
	s.Want(t, http.StatusNoContent, owner.Key, http.MethodDelete, "/api/v2/vps/"+gone+"/backups/"+doomed.BackupID, nil)

	var plan, done struct {
		Frees     int64
		Plan      struct{ Condemned []struct{ Size int64 } }
		Collected *struct{ BytesDeleted int64 }
	}
	for deadline := time.Now().Add(patience); plan.Frees == 0 && time.Now().Before(deadline); { // until the operation has deleted it
		decode(t, s.Run(t, "vault", "collect", "--account", owner.ID, "--dry-run"), &plan)
	}
	if plan.Frees < doomed.TransferredBytes*9/10 || len(plan.Plan.Condemned) == 0 || plan.Collected != nil || stored(t, s) < before-mib {
		t.Errorf("the dry run says %+v of %d bytes", plan, doomed.TransferredBytes)
	}
	decode(t, s.Run(t, "vault", "collect"), &done)
	if freed := before - stored(t, s); done.Frees != plan.Frees || done.Collected == nil || freed < doomed.TransferredBytes*9/10 {
		t.Errorf("the collection says %+v and freed %d of %d bytes", done, freed, doomed.TransferredBytes)
	}
	s.Run(t, "vault", "check", "--read-data")
	restore(t, s, owner.Key, stays, kept.BackupID)
	again := backup(t, s, owner.Key, gone) // the service, which knew the old index, stores it all anew
	restore(t, s, owner.Key, gone, again.BackupID)
	s.Run(t, "vault", "check", "--read-data")
}

func decode(t *testing.T, data []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
}

// stored is the size of all vaults in bytes.
func stored(t *testing.T, s *service.Service) (n int64) {
	t.Helper()
	err := filepath.WalkDir(s.Site(), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
