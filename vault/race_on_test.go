//go:build race

package vault_test

// raced is how many times the memory a program takes under the race detector.
const raced = 4
