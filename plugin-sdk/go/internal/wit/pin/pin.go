// Package pin keeps memory for as long as the gateway may look at it. Its Pinner stands in the bindings for the one of Go's own
// package runtime, and halves what a plugin costs: Go's collector moves nothing on the heap, so that what is held stays where it
// is, and nothing has to be told to the collector.
package pin

// Pinner holds what was pinned until Unpin.
type Pinner struct {
	few  [4]any
	more []any
	n    int
}

// Pin holds what a pointer points to.
func (p *Pinner) Pin(pointer any) {
	// What a global may hold is on the heap. A goroutine's stack would move.
	last = pointer
	if p.n < len(p.few) {
		p.few[p.n] = pointer
		p.n++
		return
	}
	p.more = append(p.more, pointer)
}

// Unpin lets go of everything.
func (p *Pinner) Unpin() {
	clear(p.few[:p.n])
	clear(p.more)
	p.more, p.n = p.more[:0], 0
}

var last any
