package control_test

import (
	"context"
	"os"
	"testing"

	"holdfast/internal/testpg"
	"holdfast/store"
)

func TestMain(m *testing.M) {
	os.Exit(testpg.Run(m, func(ctx context.Context, url string) error {
		s, err := store.Open(ctx, url)
		if err != nil {
			return err
		}
		return s.Close()
	}))
}
