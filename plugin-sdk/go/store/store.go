// Package store is memory shared by all instances of the plugin in one gateway. Entries with a time to live of 0 never
// expire.
package store

import (
	"errors"

	wit "gatewright/internal/wit/types"
	host "gatewright/wit/imports/gatewright_plugin_shared_store"
)

// Why the store refuses a write; compare with errors.Is.
var (
	ErrLimitExceeded = errors.New("the store is full, or the entry is too large")
	ErrNotANumber    = errors.New("the entry is no counter")
)

// Get is the bytes under a key, and whether there are any.
func Get(key string) ([]byte, bool) {
	entry, is := host.Get(key).Get()
	return entry.Value, is
}

// Set writes a value and replaces any existing one.
func Set(key string, value []byte, ttlMS uint32) error {
	if result := host.Set(key, value, ttl(ttlMS)); result.IsErr() {
		return failed(result.Err())
	}
	return nil
}

// Remove returns whether there was something to remove.
func Remove(key string) bool { return host.Remove(key) }

// Increment adds to a counter, atomically for all instances, and returns the new value. A missing key counts as 0; the
// time to live is set when the counter is created.
func Increment(key string, delta int64, ttlMS uint32) (int64, error) {
	result := host.Increment(key, delta, ttl(ttlMS))
	if result.IsErr() {
		return 0, failed(result.Err())
	}
	return result.Ok(), nil
}

func ttl(ms uint32) wit.Option[uint32] {
	if ms == 0 {
		return wit.None[uint32]()
	}
	return wit.Some(ms)
}

func failed(err host.StoreError) error {
	switch err.Tag() {
	case host.StoreError_LimitExceeded:
		return ErrLimitExceeded
	case host.StoreError_NotANumber:
		return ErrNotANumber
	default:
		return errors.New(err.Other())
	}
}
