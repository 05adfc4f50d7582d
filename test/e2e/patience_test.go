package e2e

import (
	"context"
	"testing"
)

func withPatience(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), patience)
}
