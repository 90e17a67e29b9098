//! Numbers, texts, lists, options, results and pairs in the canonical ABI ([`super::abi`]).

use wasmtime::{Result, ValType};

use super::abi::{Answer, Guest, Load, Pass, Store, Value, align_to, max, no_case};
use super::outgoing::Outgoing;

macro_rules! numbers {
    ($($number:ty, $bytes:literal, $core:ident;)*) => {$(
        impl Value for $number {
            const SIZE: u32 = $bytes;
            const ALIGN: u32 = $bytes;
            const FLAT: usize = 1;
        }

        impl<'a> Load<'a> for $number {
            #[inline]
            fn load(from: &mut Guest<'a>, at: u32) -> Result<Self> {
                Ok(<$number>::from_le_bytes(from.array(at)?))
            }
        }

        impl Store for $number {
            #[inline]
            fn store(self, into: &mut Outgoing, at: u32) -> Result<()> {
                into.write(at, &self.to_le_bytes())
            }
        }

        impl<'a> Pass<'a> for $number {
            fn types(into: &mut Vec<ValType>) {
                into.push(ValType::$core);
            }

            #[inline]
            fn take(from: &mut Guest<'a>) -> Result<Self> {
                Ok(from.next()? as $number)
            }
        }

        impl Answer for $number {
            fn core_type() -> Option<ValType> {
                Some(ValType::$core)
            }

            #[inline]
            fn bits(&self) -> u64 {
                *self as u64
            }
        }
    )*};
}

numbers! {
    u16, 2, I32;
    u32, 4, I32;
    u64, 8, I64;
    i64, 8, I64;
}

impl Value for u8 {
    const SIZE: u32 = 1;
    const ALIGN: u32 = 1;
    const FLAT: usize = 1;
}

impl<'a> Load<'a> for u8 {
    fn load(from: &mut Guest<'a>, at: u32) -> Result<u8> {
        Ok(u8::from_le_bytes(from.array(at)?))
    }

    fn load_list(from: &mut Guest<'a>, at: u32, length: u32) -> Result<Vec<u8>> {
        // The bytes were counted with the list.
        from.seen(at, length).map(<[u8]>::to_vec)
    }
}

impl Store for u8 {
    fn store(self, into: &mut Outgoing, at: u32) -> Result<()> {
        into.write(at, &[self])
    }

    fn store_list(list: Vec<u8>, into: &mut Outgoing, at: u32) -> Result<()> {
        into.bytes(list, at)
    }
}

impl Value for f64 {
    const SIZE: u32 = 8;
    const ALIGN: u32 = 8;
    const FLAT: usize = 1;
}

impl<'a> Pass<'a> for f64 {
    fn types(into: &mut Vec<ValType>) {
        into.push(ValType::F64);
    }

    fn take(from: &mut Guest<'a>) -> Result<f64> {
        from.next().map(f64::from_bits)
    }
}

impl Value for bool {
    const SIZE: u32 = 1;
    const ALIGN: u32 = 1;
    const FLAT: usize = 1;
}

impl Store for bool {
    fn store(self, into: &mut Outgoing, at: u32) -> Result<()> {
        into.write(at, &[self.into()])
    }
}

impl Answer for bool {
    fn core_type() -> Option<ValType> {
        Some(ValType::I32)
    }

    fn bits(&self) -> u64 {
        (*self).into()
    }
}

impl Value for () {
    const SIZE: u32 = 0;
    const ALIGN: u32 = 1;
    const FLAT: usize = 0;
}

impl<'a> Load<'a> for () {
    fn load(_: &mut Guest<'a>, _: u32) -> Result<()> {
        Ok(())
    }
}

impl Store for () {
    fn store(self, _: &mut Outgoing, _: u32) -> Result<()> {
        Ok(())
    }
}

impl Answer for () {}

/// Strings and lists are a pointer and a length.
macro_rules! ranges {
    ($([$($generic:tt)*] $range:ty;)*) => {$(
        impl<$($generic)*> Value for $range {
            const SIZE: u32 = 8;
            const ALIGN: u32 = 4;
            const FLAT: usize = 2;
        }
    )*};
}

ranges! {
    [] &str;
    [] &[u8];
    [] String;
    [T: Value] Vec<T>;
}

impl<'a> Range<'a> for &'a str {
    fn read(from: &mut Guest<'a>, at: u32, length: u32) -> Result<&'a str> {
        from.text(at, length)
    }
}

impl<'a> Range<'a> for &'a [u8] {
    fn read(from: &mut Guest<'a>, at: u32, length: u32) -> Result<&'a [u8]> {
        from.bytes(at, length)
    }
}

impl<'a> Range<'a> for String {
    fn read(from: &mut Guest<'a>, at: u32, length: u32) -> Result<String> {
        from.text(at, length).map(str::to_owned)
    }
}

impl<'a, T: Load<'a>> Range<'a> for Vec<T> {
    fn read(from: &mut Guest<'a>, at: u32, length: u32) -> Result<Vec<T>> {
        from.list(at, length)
    }
}

/// What is read from a pointer and a length.
trait Range<'a>: Value {
    fn read(from: &mut Guest<'a>, at: u32, length: u32) -> Result<Self>;
}

impl<'a, T: Range<'a>> Load<'a> for T {
    fn load(from: &mut Guest<'a>, at: u32) -> Result<T> {
        let both = u64::from_le_bytes(from.array(at)?);
        T::read(from, both as u32, (both >> 32) as u32)
    }
}

impl<'a, T: Range<'a>> Pass<'a> for T {
    fn types(into: &mut Vec<ValType>) {
        into.extend([ValType::I32, ValType::I32]);
    }

    fn take(from: &mut Guest<'a>) -> Result<T> {
        let (at, length) = (from.next()?, from.next()?);
        T::read(from, at as u32, length as u32)
    }
}

impl Store for String {
    fn store(self, into: &mut Outgoing, at: u32) -> Result<()> {
        into.bytes(self.into_bytes(), at)
    }
}

impl<T: Store> Store for Vec<T> {
    fn store(self, into: &mut Outgoing, at: u32) -> Result<()> {
        T::store_list(self, into, at)
    }
}

impl Answer for String {}

impl<T: Store> Answer for Vec<T> {}

/// The offset of a variant's payload, after the case number, which is one byte.
pub const fn payload(align: u32) -> u32 {
    align_to(1, align)
}

/// The size of a variant whose largest payload has this many bytes.
pub const fn variant_size(payload_size: u32, align: u32) -> u32 {
    align_to(payload(align) + payload_size, align)
}

impl<T: Value> Value for Option<T> {
    const SIZE: u32 = variant_size(T::SIZE, T::ALIGN);
    const ALIGN: u32 = T::ALIGN;
    const FLAT: usize = 1 + T::FLAT;
}

impl<'a, T: Load<'a>> Load<'a> for Option<T> {
    fn load(from: &mut Guest<'a>, at: u32) -> Result<Self> {
        match u8::load(from, at)? {
            0 => Ok(None),
            1 => T::load(from, at + payload(T::ALIGN)).map(Some),
            _ => Err(no_case()),
        }
    }
}

impl<'a, T: Pass<'a>> Pass<'a> for Option<T> {
    fn types(into: &mut Vec<ValType>) {
        into.push(ValType::I32);
        T::types(into);
    }

    fn take(from: &mut Guest<'a>) -> Result<Self> {
        match from.next()? as u32 {
            0 => from.skip(T::FLAT).map(|()| None),
            1 => T::take(from).map(Some),
            _ => Err(no_case()),
        }
    }
}

impl<T: Store> Store for Option<T> {
    fn store(self, into: &mut Outgoing, at: u32) -> Result<()> {
        into.write(at, &[self.is_some().into()])?;
        self.map_or(Ok(()), |value| value.store(into, at + payload(T::ALIGN)))
    }
}

impl<T: Store> Answer for Option<T> {}

impl<T: Value, E: Value> Value for std::result::Result<T, E> {
    const SIZE: u32 = variant_size(max(T::SIZE, E::SIZE), Self::ALIGN);
    const ALIGN: u32 = max(T::ALIGN, E::ALIGN);
    const FLAT: usize = 1 + if T::FLAT > E::FLAT { T::FLAT } else { E::FLAT };
}

impl<'a, T: Load<'a>, E: Load<'a>> Load<'a> for std::result::Result<T, E> {
    fn load(from: &mut Guest<'a>, at: u32) -> Result<Self> {
        let place = at + payload(Self::ALIGN);
        match u8::load(from, at)? {
            0 => T::load(from, place).map(Ok),
            1 => E::load(from, place).map(Err),
            _ => Err(no_case()),
        }
    }
}

impl<T: Store, E: Store> Store for std::result::Result<T, E> {
    fn store(self, into: &mut Outgoing, at: u32) -> Result<()> {
        let place = at + payload(Self::ALIGN);
        into.write(at, &[self.is_err().into()])?;
        match self {
            Ok(value) => value.store(into, place),
            Err(error) => error.store(into, place),
        }
    }
}

impl<T: Store, E: Store> Answer for std::result::Result<T, E> {}

impl<A: Value, B: Value> Value for (A, B) {
    const SIZE: u32 = align_to(align_to(A::SIZE, B::ALIGN) + B::SIZE, Self::ALIGN);
    const ALIGN: u32 = max(A::ALIGN, B::ALIGN);
    const FLAT: usize = A::FLAT + B::FLAT;
}

impl<'a, A: Load<'a>, B: Load<'a>> Load<'a> for (A, B) {
    fn load(from: &mut Guest<'a>, at: u32) -> Result<Self> {
        Ok((A::load(from, at)?, B::load(from, at + align_to(A::SIZE, B::ALIGN))?))
    }
}

impl<A: Store, B: Store> Store for (A, B) {
    fn store(self, into: &mut Outgoing, at: u32) -> Result<()> {
        self.0.store(into, at)?;
        self.1.store(into, at + align_to(A::SIZE, B::ALIGN))
    }
}

impl<A: Store, B: Store> Answer for (A, B) {}
