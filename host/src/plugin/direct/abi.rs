//! The canonical ABI of the types that the contract uses: how a value lies in a guest's memory, and how it is passed
//! (Component Model, "Canonical ABI Explainer"; strings are UTF-8, memories have 32 bits).
//!
//! Everything here is checked: a place outside of the memory, a pointer that is not aligned, a text that is no UTF-8 or
//! a case that does not exist is a trap, and so is more in one call than may cross the boundary at once. [`Load::load`]
//! and [`Store::store`] are for places that [`within`] has checked.

use wasmtime::{Error, Result, TypedFunc, ValType};

use super::outgoing::Outgoing;

/// A type of the contract.
pub trait Value: Sized {
    /// Bytes in memory.
    const SIZE: u32;
    const ALIGN: u32;
    /// The number of core values that it is passed as.
    const FLAT: usize;
}

/// A value that the host reads from a guest's memory.
pub trait Load<'a>: Value {
    fn load(from: &mut Guest<'a>, at: u32) -> Result<Self>;

    /// Reads `length` consecutive values.
    fn load_list(from: &mut Guest<'a>, at: u32, length: u32) -> Result<Vec<Self>> {
        (0..length).map(|index| Self::load(from, at + index * Self::SIZE)).collect()
    }
}

/// A value that a guest passes to the host.
pub trait Pass<'a>: Value {
    /// The core types that it is passed as.
    fn types(into: &mut Vec<ValType>);
    fn take(from: &mut Guest<'a>) -> Result<Self>;
}

/// A value that the host writes to a guest's memory.
pub trait Store: Value {
    /// Lays the value out at `at`.
    fn store(self, into: &mut Outgoing, at: u32) -> Result<()>;

    /// Lays out a list of such values, and its address and length at `at`.
    fn store_list(list: Vec<Self>, into: &mut Outgoing, at: u32) -> Result<()> {
        let mut place = into.list(list.len(), Self::SIZE, Self::ALIGN, at)?;
        for value in list {
            value.store(into, place)?;
            place += Self::SIZE;
        }
        Ok(())
    }
}

/// The answer of a host function. One that takes more than one core value goes through memory.
pub trait Answer: Store {
    /// The core type, if the answer is one core value.
    fn core_type() -> Option<ValType> {
        None
    }

    /// The bits of that core value.
    fn bits(&self) -> u64 {
        0
    }
}

/// A guest's memory as seen during one call, and the core values that were passed.
pub struct Guest<'a> {
    memory: &'a [u8],
    passed: &'a [u64],
    /// The bytes that may still be copied.
    left: usize,
}

impl<'a> Guest<'a> {
    pub fn new(memory: &'a [u8], passed: &'a [u64], boundary: usize) -> Guest<'a> {
        Guest { memory, passed, left: boundary }
    }

    /// The next core value that was passed.
    pub fn next(&mut self) -> Result<u64> {
        let (first, rest) = self.passed.split_first().ok_or_else(|| Error::msg("a parameter is missing"))?;
        self.passed = rest;
        Ok(*first)
    }

    /// The value at an address that the guest gave.
    pub fn value<T: Load<'a>>(&mut self, at: u32) -> Result<T> {
        within(self.memory.len(), at, T::SIZE.into(), T::ALIGN)?;
        T::load(self, at)
    }

    /// Skips this many core values.
    pub fn skip(&mut self, count: usize) -> Result<()> {
        (0..count).try_for_each(|_| self.next().map(drop))
    }

    /// Reads `N` bytes of the guest's memory.
    pub fn array<const N: usize>(&self, at: u32) -> Result<[u8; N]> {
        let bytes = self.memory.get(at as usize..).and_then(|rest| rest.first_chunk());
        bytes.copied().ok_or_else(out_of_bounds)
    }

    /// Bytes in the guest's memory, counted against the limit.
    pub fn bytes(&mut self, at: u32, length: u32) -> Result<&'a [u8]> {
        self.spend(length as usize)?;
        self.seen(at, length)
    }

    /// Bytes that were already counted.
    pub fn seen(&self, at: u32, length: u32) -> Result<&'a [u8]> {
        let bytes = self.memory.get(at as usize..).and_then(|rest| rest.get(..length as usize));
        bytes.ok_or_else(out_of_bounds)
    }

    pub fn text(&mut self, at: u32, length: u32) -> Result<&'a str> {
        std::str::from_utf8(self.bytes(at, length)?).map_err(|_| Error::msg("a text of the plugin is not UTF-8"))
    }

    pub fn list<T: Load<'a>>(&mut self, at: u32, length: u32) -> Result<Vec<T>> {
        let taken = (length as usize).saturating_mul(size_of::<T>().max(T::SIZE as usize));
        self.spend(taken)?;
        within(self.memory.len(), at, u64::from(length) * u64::from(T::SIZE), T::ALIGN)?;
        T::load_list(self, at, length)
    }

    fn spend(&mut self, bytes: usize) -> Result<()> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or_else(|| Error::msg("the plugin passed more at once than may cross the boundary"))?;
        Ok(())
    }
}

/// The guest's function that allocates memory for the host: `cabi_realloc`.
pub type Realloc = TypedFunc<(u32, u32, u32, u32), u32>;

/// The next multiple of `align`.
pub const fn align_to(at: u32, align: u32) -> u32 {
    at.next_multiple_of(align)
}

/// `Ord::max` as a const function.
pub const fn max(a: u32, b: u32) -> u32 {
    if a > b { a } else { b }
}

/// Checks that the address is aligned and the value within the memory. So everything inside the value has an address,
/// too.
pub fn within(memory: usize, at: u32, size: u64, align: u32) -> Result<()> {
    aligned(at, align)?;
    if u64::from(at).saturating_add(size) > memory as u64 { Err(out_of_bounds()) } else { Ok(()) }
}

pub fn aligned(at: u32, align: u32) -> Result<()> {
    match at.is_multiple_of(align) {
        true => Ok(()),
        false => Err(Error::msg("a pointer of the plugin is not aligned")),
    }
}

pub fn out_of_bounds() -> Error {
    Error::msg("a pointer of the plugin is outside of its memory")
}

/// A length as the guest represents it.
pub fn length(of: usize) -> Result<u32> {
    u32::try_from(of).map_err(|_| Error::msg("an answer does not fit into a plugin's memory"))
}

/// The trap for a value that is none of its type's cases.
pub fn no_case() -> Error {
    Error::msg("the plugin passed a case that does not exist")
}
