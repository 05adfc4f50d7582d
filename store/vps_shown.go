package store

import (
	"context"
	"strings"

	"github.com/uptrace/bun"

	"holdfast"
)

// ListShownVPS is a page of an account's VPSs, and whether there is more: all
// but the terminated ones without a completed backup.
func (q *queries) ListShownVPS(ctx context.Context, account holdfast.AccountID, f VPSFilter, p Page) ([]holdfast.VPS, bool, error) {
	return page[vpsRow](ctx, q, "list shown vps", p, func(s *bun.SelectQuery) *bun.SelectQuery {
		s = s.Where("account_id = ?", account).
			Where("(service <> ? OR EXISTS (SELECT 1 FROM backups AS b WHERE b.vps_id = vps.id AND b.status = ?))",
				holdfast.ServiceTerminated, holdfast.BackupCompleted)
		if f.PrimaryIP != "" {
			s = s.Where("primary_ip = ?", f.PrimaryIP)
		}
		if f.Name != "" {
			s = s.Where("name_folded = ?", strings.ToLower(f.Name))
		}
		return s
	})
}
