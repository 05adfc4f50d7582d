package backup_test

import (
	"encoding/binary"
	"encoding/json"
	"testing"

	"holdfast"
)

// A disk's last partition gets the room that a larger Cloud VM has, and a disk
// without one says what is left to do; also after a kill when the disk was done.
func TestRestoreGrowsAPartition(t *testing.T) {
	for _, killed := range []bool{false, true} {
		w := newWorld(t)
		boot := make([]byte, 512)
		boot[446+4] = 0x83
		binary.LittleEndian.PutUint32(boot[446+8:], 8)
		binary.LittleEndian.PutUint32(boot[446+12:], 4000)
		boot[510], boot[511] = 0x55, 0xaa
		w.ok(w.hypervisor().WriteDisk(string(w.vps.ID), "disk0", boot, 0))
		b := w.backup()
		want := w.contents(w.vps)["disk0"]
		o, v := w.askRestore(b)
		if killed {
			p := w.process()
			p.atCall("fill", 2)
			p.run(p.until(p.dead.Load))
			w.ahead.Add(int64(2 * ttl))
		}
		p := w.process()
		p.finish(o)
		got := w.contents(v)["disk0"]
		const grown = 3<<20/512 - 8 // to the last whole MiB
		binary.LittleEndian.PutUint32(want[446+12:], grown)
		if string(got[:len(want)]) != string(want) {
			t.Error("more than the partition's length has changed, or it has not")
		}
		var r struct {
			DiskGrowth []struct {
				Disk, Note string
				Partition  *int
			}
		}
		if o = w.see(o.ID); o.Status != holdfast.OperationCompleted || json.Unmarshal(o.Result, &r) != nil {
			t.Fatalf("%s %+v: %s", o.Status, o.Failure, o.Result)
		}
		if len(r.DiskGrowth) != 1 || r.DiskGrowth[0].Disk != "disk0" || r.DiskGrowth[0].Partition == nil || *r.DiskGrowth[0].Partition != 1 || r.DiskGrowth[0].Note == "" {
			t.Errorf("killed %v: %s", killed, o.Result)
		}
		p.neverBack()
	}
}
