package control

import "context"

// MaintainOnce is one round of Maintain.
func (q *Queue) MaintainOnce(ctx context.Context) error { return q.maintainOnce(ctx) }
