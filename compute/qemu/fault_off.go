//go:build !faults

package qemu

// builtinFault does not exist in shipped programs.
var builtinFault func(string)
