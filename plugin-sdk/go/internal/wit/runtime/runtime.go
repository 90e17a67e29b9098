// Package runtime provides memory for the bindings.
//
// The gateway writes into Go memory from cabi_realloc, which is pinned until the next call begins: by then Go values
// point at it, and the collector keeps what is used and frees the rest.
package runtime

import (
	"unsafe"

	"gatewright/internal/wit/pin"
)

var lent pin.Pinner

// Allocate returns memory that stays in its place until pinner releases it.
func Allocate(pinner *pin.Pinner, size, align uintptr) unsafe.Pointer {
	Unpin()
	memory := allocate(size, align)
	if size > 0 {
		pinner.Pin(memory)
	}
	return memory
}

// Unpin releases everything that the gateway has written so far.
func Unpin() { lent.Unpin() }

//go:wasmexport cabi_realloc
func cabiRealloc(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	memory := allocate(uintptr(size), uintptr(align))
	if size > 0 {
		lent.Pin(memory)
		copy(unsafe.Slice((*byte)(memory), size), unsafe.Slice((*byte)(old), oldSize))
	}
	return memory
}

func allocate(size, align uintptr) unsafe.Pointer {
	switch {
	case size == 0:
		return unsafe.Pointer(align)
	case align <= 1:
		return unsafe.Pointer(unsafe.SliceData(make([]byte, size)))
	default: // 2, 4 and 8: words of eight bytes are aligned for all of them
		return unsafe.Pointer(unsafe.SliceData(make([]uint64, (size+7)/8)))
	}
}
