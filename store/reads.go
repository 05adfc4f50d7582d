package store

// Queries are the reads alone: what a rule needs that is asked both of the pool
// and within a transaction. Store and Tx both have them.
type Queries = queries

// Queries gives the reads of a store, or of a transaction.
func (q *queries) Queries() *Queries { return q }
