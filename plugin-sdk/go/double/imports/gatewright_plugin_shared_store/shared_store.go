// Package gatewright_plugin_shared_store is the contract's interface `shared-store` over the double's world.
package gatewright_plugin_shared_store

import (
	"encoding/binary"
	"time"

	wit "gatewright/internal/wit/types"
	"gatewright/wit/variant"
	"gatewright/wit/world"
)

type Entry struct {
	Value   []uint8
	Version uint64
}

const (
	StoreError_LimitExceeded uint8 = iota
	StoreError_NotANumber
	StoreError_Other
)

type StoreError struct{ variant.Case }

func (e StoreError) Other() string { return variant.As[string](e.Case, StoreError_Other) }

func MakeStoreErrorNotANumber() StoreError { return StoreError{variant.Of(StoreError_NotANumber, nil)} }

const (
	SwapError_Conflict uint8 = iota
	SwapError_Store
)

type SwapError struct{ variant.Case }

func (e SwapError) Conflict() wit.Option[Entry] {
	return variant.As[wit.Option[Entry]](e.Case, SwapError_Conflict)
}
func (e SwapError) Store() StoreError { return variant.As[StoreError](e.Case, SwapError_Store) }

func Get(key string) wit.Option[Entry] {
	if entry, is := world.Get().Entry(key); is {
		return wit.Some(Entry{entry.Value, entry.Version})
	}
	return wit.None[Entry]()
}

func Set(key string, value []uint8, ttlMs wit.Option[uint32]) wit.Result[uint64, StoreError] {
	return wit.Ok[uint64, StoreError](put(key, value, ends(ttlMs)))
}

func CompareAndSet(
	key string, expected wit.Option[uint64], value []uint8, ttlMs wit.Option[uint32],
) wit.Result[uint64, SwapError] {
	version, wanted := expected.Get()
	entry, is := world.Get().Entry(key)
	if is != wanted || is && entry.Version != version {
		return wit.Err[uint64](SwapError{variant.Of(SwapError_Conflict, Get(key))})
	}
	return wit.Ok[uint64, SwapError](put(key, value, ends(ttlMs)))
}

func Remove(key string) bool {
	here := world.Get()
	_, is := here.Entry(key)
	delete(here.Entries, key)
	return is
}

func Increment(key string, delta int64, ttlMs wit.Option[uint32]) wit.Result[int64, StoreError] {
	entry, is := world.Get().Entry(key)
	if !is {
		entry = world.Entry{Value: make([]uint8, 8), Ends: ends(ttlMs)}
	}
	if len(entry.Value) != 8 {
		return wit.Err[int64](MakeStoreErrorNotANumber())
	}
	sum := int64(binary.LittleEndian.Uint64(entry.Value)) + delta
	put(key, binary.LittleEndian.AppendUint64(nil, uint64(sum)), entry.Ends)
	return wit.Ok[int64, StoreError](sum)
}

func put(key string, value []uint8, ends time.Duration) uint64 {
	here := world.Get()
	version := here.Version()
	here.Entries[key] = world.Entry{Value: append([]uint8{}, value...), Version: version, Ends: ends}
	return version
}

func ends(ttlMs wit.Option[uint32]) time.Duration {
	ms, is := ttlMs.Get()
	if !is {
		return 0
	}
	return world.Get().Monotonic + time.Duration(ms)*time.Millisecond
}
