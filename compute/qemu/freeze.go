package qemu

import "context"

// agentChannel is the name by which guest agents find their port.
const agentChannel = "org.qemu.guest_agent.0"

// whyNotFreeze is "" when the guest has an agent to ask. QEMU knows whether
// something in the guest has its end of the channel open, so guests without an
// agent cost no time.
func (d *Driver) whyNotFreeze(ctx context.Context, s *session) (string, error) {
	if d.cfg.NoFreeze {
		return "freezing is switched off", nil
	}
	var list []struct {
		Label    string `json:"label"`
		Frontend bool   `json:"frontend-open"`
	}
	if err := s.Execute(ctx, "query-chardev", nil, &list); err != nil {
		return "", err
	}
	for _, c := range list {
		if c.Label != socketAgent {
			continue
		}
		if c.Frontend {
			return "", nil
		}
		return "the guest has no agent running", nil
	}
	return "the VPS was started without a channel to a guest agent", nil
}

// thaw thaws a guest whose watchdog died before it did. A watchdog that still
// tries has the channel for itself.
func (d *Driver) thaw(id string) {
	f := newFreezer(d.socket(id, socketAgent))
	f.owed = true
	f.thawWithin(thawWait)
	f.drop()
	if f.owed || f.refusals > 0 {
		d.log.Error("guest could not be thawed, if it is frozen", "machine", id)
	}
}
