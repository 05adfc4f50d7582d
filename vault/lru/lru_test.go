package lru_test

import (
	"testing"

	"holdfast/vault/lru"
)

func TestBound(t *testing.T) {
	c := lru.New[string, int](10)
	c.Put("a", 1, 4)
	c.Put("b", 2, 4)
	if v, ok := c.Get("a"); !ok || v != 1 { // "b" is the oldest now
		t.Fatalf("a: %d, %v", v, ok)
	}
	c.Put("a", 9, 4)
	c.Put("c", 3, 4)
	for key, want := range map[string]int{"a": 1, "b": 0, "c": 3} {
		if v, ok := c.Get(key); v != want || ok != (want != 0) {
			t.Errorf("%s: %d, %v", key, v, ok)
		}
	}
	c.Put("huge", 5, 11)
	if _, ok := c.Get("huge"); ok {
		t.Error("a value above the bound was kept")
	}
	if _, ok := c.Get("c"); !ok {
		t.Error("a value above the bound drove others out")
	}
	c.Put("d", 6, 10)
	if _, ok := c.Get("a"); ok {
		t.Error("the bound was passed")
	}
}
