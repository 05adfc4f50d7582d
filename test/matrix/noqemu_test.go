//go:build !vm

package matrix

import "testing"

// labs are the kinds of hosts, by the name of their driver.
var labs = map[string]func(*testing.T) lab{"sim": newSim}
