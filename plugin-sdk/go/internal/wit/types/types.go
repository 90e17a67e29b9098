// Package types has the contract's types that Go does not have.
package types

// Unit is the value of a function that returns nothing but may fail.
type Unit struct{}

// Tuple2 is a pair.
type Tuple2[A, B any] struct {
	F0 A
	F1 B
}

// The tags of an Option.
const (
	OptionNone uint8 = iota
	OptionSome
)

// Option is an optional value.
type Option[T any] struct {
	some  bool
	value T
}

func None[T any]() Option[T]        { return Option[T]{} }
func Some[T any](value T) Option[T] { return Option[T]{true, value} }

func (o Option[T]) Tag() uint8 {
	if o.some {
		return OptionSome
	}
	return OptionNone
}

// Some is the value, which must exist.
func (o Option[T]) Some() T {
	if !o.some {
		panic("the option is none")
	}
	return o.value
}

// Get is the value, and whether it exists.
func (o Option[T]) Get() (T, bool) { return o.value, o.some }

// The tags of a Result.
const (
	ResultOk uint8 = iota
	ResultErr
)

// Result is a value, or why there is none.
type Result[T, E any] struct {
	failed bool
	ok     T
	err    E
}

func Ok[T, E any](value T) Result[T, E] { return Result[T, E]{ok: value} }
func Err[T, E any](err E) Result[T, E]  { return Result[T, E]{failed: true, err: err} }

func (r Result[T, E]) Tag() uint8 {
	if r.failed {
		return ResultErr
	}
	return ResultOk
}

func (r Result[T, E]) IsErr() bool { return r.failed }
func (r Result[T, E]) Ok() T       { return r.ok }
func (r Result[T, E]) Err() E      { return r.err }
