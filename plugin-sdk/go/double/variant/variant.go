// Package variant is what all variants of the contract are made of. Their own types say which cases there are.
package variant

// Case is one case of a variant, with its value where it has one.
type Case struct {
	tag   uint8
	value any
}

// Of is the case with this tag.
func Of(tag uint8, value any) Case { return Case{tag, value} }

func (c Case) Tag() uint8 { return c.tag }

// As is the value of the case `tag`. As in a component, it panics where the variant is another case.
func As[T any](c Case, tag uint8) T {
	if c.tag != tag {
		panic("tag mismatch")
	}
	return c.value.(T)
}
