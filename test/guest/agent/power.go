package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

const (
	inputEventSize = 24 // struct input_event on 64-bit: two longs, type, code, value
	evKey          = 1
	keyPower       = 116
)

// watchPowerButton powers the guest off when the hypervisor presses its button
// (QEMU: system_powerdown), which the kernel turns into a key of an input
// device. Which device that is depends on the machine, so it listens to all.
func watchPowerButton() {
	devices, err := filepath.Glob("/dev/input/event*")
	if err != nil || len(devices) == 0 {
		fmt.Println("GUEST-FAILED no input device: a graceful stop will not work", err)
		return
	}
	for _, path := range devices {
		device, err := os.Open(path)
		if err != nil {
			fmt.Println("GUEST-FAILED", err)
			continue
		}
		go func() {
			event := make([]byte, inputEventSize)
			for {
				if _, err := io.ReadFull(device, event); err != nil {
					return
				}
				if binary.LittleEndian.Uint16(event[16:]) == evKey &&
					binary.LittleEndian.Uint16(event[18:]) == keyPower {
					powerOff()
				}
			}
		}()
	}
}

// powerOff makes the root disk clean and ends the guest. It does not return.
func powerOff() {
	fmt.Println("GUEST-POWEROFF")
	end(syscall.LINUX_REBOOT_CMD_POWER_OFF)
}

// reboot does the same and begins anew, in the same hypervisor process.
func reboot() {
	fmt.Println("GUEST-REBOOT")
	end(syscall.LINUX_REBOOT_CMD_RESTART)
}

func end(how int) {
	syscall.Sync()
	// Refused while a file is being written; the journal makes up for that.
	if err := syscall.Mount("", "/", "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		fmt.Println("remount read-only:", err)
	}
	if err := syscall.Reboot(how); err != nil {
		fmt.Println("GUEST-FAILED to end:", err)
	}
	select {}
}
