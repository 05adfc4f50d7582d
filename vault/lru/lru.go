// Package lru keeps the values that were used last, up to a bound.
package lru

import (
	"container/list"
	"sync"
)

// Cache keeps the most recently used values whose costs together stay within its
// bound. It is safe for concurrent use. The values are shared, so nobody may
// change one.
type Cache[K comparable, V any] struct {
	mu    sync.Mutex
	bound int64
	cost  int64
	order *list.List // of *entry, the last used first
	items map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key   K
	value V
	cost  int64
}

// New returns an empty cache. The unit of the bound is the caller's: values, or bytes.
func New[K comparable, V any](bound int64) *Cache[K, V] {
	return &Cache[K, V]{bound: bound, order: list.New(), items: map[K]*list.Element{}}
}

// Get returns a value and makes it the last used.
func (c *Cache[K, V]) Get(key K) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[key]
	if !ok {
		return value, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*entry[K, V]).value, true
}

// Put keeps a value; one that is there already stays. A value that costs more than
// the bound is not kept.
func (c *Cache[K, V]) Put(key K, value V, cost int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.items[key]; ok || cost > c.bound {
		return
	}
	c.items[key] = c.order.PushFront(&entry[K, V]{key, value, cost})
	c.cost += cost
	for c.cost > c.bound {
		last := c.order.Remove(c.order.Back()).(*entry[K, V])
		c.cost -= last.cost
		delete(c.items, last.key)
	}
}
