// Package nbd is a client of the NBD protocol (fixed newstyle negotiation,
// structured replies, metadata contexts) for exports of hypervisors that are
// not trusted: every length is bounded before memory is taken for it, and a
// server that breaks the protocol gets its connection closed with an error.
package nbd

import (
	"errors"
	"fmt"
	"syscall"
)

// ErrProtocol is wrapped by every error about a server that does not keep to
// the protocol. The connection is closed then.
var ErrProtocol = errors.New("nbd: protocol violation")

// ErrClosed is wrapped by errors of requests on a connection that Close ended.
var ErrClosed = errors.New("nbd: connection closed")

// ErrUnsupported: the export does not offer what was asked for.
var ErrUnsupported = errors.New("nbd: not supported by the export")

// Error is the server's answer that a request failed; the connection goes on.
type Error struct {
	// Errno is the protocol's error number; the same values as Linux's for
	// those that the protocol knows.
	Errno uint32
	// Msg is the server's text, at most 4 KiB, "" for none.
	Msg string
}

// Error describes the failure.
func (e *Error) Error() string {
	s := fmt.Sprintf("nbd: %v", syscall.Errno(e.Errno))
	if e.Msg != "" {
		s += ": " + e.Msg
	}
	return s
}

// Is makes errors.Is(err, syscall.ENOSPC) and its like work.
func (e *Error) Is(target error) bool {
	no, ok := target.(syscall.Errno)
	return ok && no == syscall.Errno(e.Errno)
}

// Extent is one run of a metadata context, in bytes from the disk's start.
type Extent struct {
	Offset int64
	Length int64
	// Flags as the context defines them: StateHole and StateZero for
	// base:allocation, StateDirty for qemu:dirty-bitmap:….
	Flags uint32
}

// Flags of the metadata contexts used here.
const (
	StateHole  = 1 << 0 // base:allocation: nothing is allocated
	StateZero  = 1 << 1 // base:allocation: it reads as zeros
	StateDirty = 1 << 0 // qemu:dirty-bitmap: it was written
)

// BaseAllocation is the metadata context of the protocol itself.
const BaseAllocation = "base:allocation"

// DirtyBitmap is the name of the context of a QEMU bitmap.
func DirtyBitmap(bitmap string) string { return "qemu:dirty-bitmap:" + bitmap }

// Bounds on what a server may say, and on what we ask of one.
const (
	maxOptionReply   = 64 << 10
	maxOptionReplies = 64
	maxName          = 4096
	maxErrorText     = 4096
	// maxStatusChunk is 2^20 bytes of descriptors: what QEMU sends at most.
	maxStatusChunk = 1<<20 + 4
	// MaxRequest is the longest read or write in bytes sent in one request; the
	// protocol's portable limit is 32 MiB.
	MaxRequest = 8 << 20
	// maxRange is the longest range in bytes of one trim, write-zeroes or block
	// status request (their length is 32 bits; a round number below).
	maxRange = 1 << 30
	// maxInFlight requests wait for an answer on one connection.
	maxInFlight = 64
)

// Numbers of the protocol.
const (
	magicServer     = "NBDMAGICIHAVEOPT"
	magicOption     = "IHAVEOPT"
	magicOptReply   = 0x3e889045565a9
	magicRequest    = 0x25609513
	magicSimple     = 0x67446698
	magicStructured = 0x668e33ef

	flagFixedNewstyle = 1 << 0
	flagNoZeroes      = 1 << 1

	optAbort       = 2
	optGo          = 7
	optStructured  = 8
	optMetaContext = 10

	repAck         = 1
	repInfo        = 3
	repMetaContext = 4
	repErrorBit    = 1 << 31

	infoExport    = 0
	infoBlockSize = 3

	flagReadOnly   = 1 << 1
	flagFlush      = 1 << 2
	flagTrim       = 1 << 5
	flagZeroes     = 1 << 6
	flagMultiConn  = 1 << 8
	flagHasFlags   = 1 << 0
	cmdRead        = 0
	cmdWrite       = 1
	cmdDisconnect  = 2
	cmdFlush       = 3
	cmdTrim        = 4
	cmdWriteZeroes = 6
	cmdBlockStatus = 7

	chunkNone        = 0
	chunkOffsetData  = 1
	chunkOffsetHole  = 2
	chunkBlockStatus = 5
	chunkErrorBit    = 1 << 15
	chunkErrorOffset = chunkErrorBit | 2
	chunkDone        = 1 << 0
)

func violation(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}
