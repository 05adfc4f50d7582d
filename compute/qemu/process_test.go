package qemu

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestProcess(t *testing.T) {
	self, ok := identify(os.Getpid())
	if !ok || !self.alive() {
		t.Fatalf("we are gone: %+v", self)
	}
	if up := time.Since(self.started()); up < -2*time.Second || up > time.Hour || !self.started().Equal(self.started()) {
		t.Errorf("we started %v ago", up)
	}
	for _, other := range []process{
		{}, {PID: self.PID, Ticks: self.Ticks + 1, Boot: self.Boot}, {PID: self.PID, Ticks: self.Ticks, Boot: "another"},
	} {
		if other.alive() {
			t.Errorf("%+v is taken for us", other)
		}
		if err := other.kill(t.Context()); err != nil {
			t.Error(err)
		}
	}
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	child, ok := identify(cmd.Process.Pid)
	if !ok {
		t.Error("the child is gone")
	}
	// Nobody has reaped it when kill returns: a zombie is gone.
	if err := child.kill(t.Context()); err != nil {
		t.Error(err)
	}
	if child.alive() {
		t.Error("the child lives")
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child was not killed")
	}
}
