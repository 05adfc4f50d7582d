package vault

import (
	"container/list"
	"sync"
)

// cache keeps the n most recently used values. It is safe for concurrent use.
type cache[K comparable, V any] struct {
	mu    sync.Mutex
	n     int
	order *list.List
	items map[K]*list.Element
}

type cached[K comparable, V any] struct {
	key   K
	value V
}

func newCache[K comparable, V any](n int) *cache[K, V] {
	return &cache[K, V]{n: n, order: list.New(), items: map[K]*list.Element{}}
}

func (c *cache[K, V]) get(key K) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[key]
	if !ok {
		return value, false
	}
	c.order.MoveToFront(e)
	return e.Value.(cached[K, V]).value, true
}

func (c *cache[K, V]) put(key K, value V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.items[key]; ok {
		return
	}
	c.items[key] = c.order.PushFront(cached[K, V]{key, value})
	if c.order.Len() > c.n {
		delete(c.items, c.order.Remove(c.order.Back()).(cached[K, V]).key)
	}
}
