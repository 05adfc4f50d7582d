package mem_test

import (
	"testing"

	"holdfast/vault/blob"
	"holdfast/vault/blob/blobtest"
	"holdfast/vault/blob/mem"
)

func TestConformance(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blob.Storage { return mem.New() })
}
