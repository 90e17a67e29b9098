// Package variant is the representation of all variants of the contract. Their own types define the cases.
package variant

// Case is one case of a variant, with its value if it has one.
type Case struct {
	tag   uint8
	value any
}

// Of is the case with this tag.
func Of(tag uint8, value any) Case { return Case{tag, value} }

func (c Case) Tag() uint8 { return c.tag }

// As is the value of the case `tag`. As in a component, it panics if the variant is another case.
func As[T any](c Case, tag uint8) T {
	if c.tag != tag {
		panic("tag mismatch")
	}
	return c.value.(T)
}
