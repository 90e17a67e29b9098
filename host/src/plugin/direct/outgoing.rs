//! A value on its way into a guest's memory.
//!
//! The guest allocates the memory for each text and each list itself, in as many calls. So a value is laid out here
//! first. Then the guest is asked for memory for one part after the other, and in the end everything is written.

use wasmtime::{Error, Result};

use super::abi::{aligned, length, out_of_bounds};

/// A value, laid out. It is kept from call to call, so that its memory is used again.
#[derive(Default)]
pub struct Outgoing {
    /// What has a fixed size: the value itself, then the elements of its lists. Places in here are called `at`.
    fixed: Vec<u8>,
    /// The bytes that are the value itself, and their address in the guest's memory.
    size: u32,
    address: u32,
    /// Everything else. A part comes after the one that points to it.
    parts: Vec<Part>,
    /// How many parts have an address in the guest's memory.
    placed: usize,
}

/// What lies in one piece in memory that the guest allocates.
struct Part {
    content: Content,
    align: u32,
    /// Where its address is written.
    pointer: u32,
    /// In the guest's memory, once it is placed.
    address: u32,
}

enum Content {
    /// A range of the fixed bytes.
    Fixed {
        at: u32,
        size: u32,
    },
    Bytes(Vec<u8>),
}

/// Memory that the guest has to allocate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub size: u32,
    pub align: u32,
}

impl Outgoing {
    /// Starts a value that goes to this address. It is laid out at 0.
    #[inline]
    pub fn start(&mut self, size: u32, align: u32, address: u32) -> Result<()> {
        aligned(address, align)?;
        self.fixed.clear();
        self.fixed.resize(size as usize, 0);
        self.parts.clear();
        (self.size, self.address, self.placed) = (size, address, 0);
        Ok(())
    }

    #[inline]
    pub fn write(&mut self, at: u32, bytes: &[u8]) -> Result<()> {
        write(&mut self.fixed, at, bytes)
    }

    /// Lays out bytes, and their address and length at `at`.
    #[inline]
    pub fn bytes(&mut self, bytes: Vec<u8>, at: u32) -> Result<()> {
        self.write(at + 4, &length(bytes.len())?.to_le_bytes())?;
        self.parts.push(Part { content: Content::Bytes(bytes), align: 1, pointer: at, address: 0 });
        Ok(())
    }

    /// Makes room for the elements of a list, whose address and length are at `at`. Returns the place of the first
    /// element.
    pub fn list(&mut self, count: usize, element: u32, align: u32, at: u32) -> Result<u32> {
        let count = length(count)?;
        let size = count.checked_mul(element).ok_or_else(out_of_bounds)?;
        self.write(at + 4, &count.to_le_bytes())?;
        let place = length(self.fixed.len())?;
        self.fixed.resize(place.checked_add(size).ok_or_else(out_of_bounds)? as usize, 0);
        self.parts.push(Part { content: Content::Fixed { at: place, size }, align, pointer: at, address: 0 });
        Ok(place)
    }

    /// The memory to be allocated next, if any is left to be.
    #[inline]
    pub fn wanted(&self) -> Option<Wanted> {
        let part = self.parts.get(self.placed)?;
        let size = match &part.content {
            Content::Fixed { size, .. } => *size,
            Content::Bytes(bytes) => bytes.len() as u32,
        };
        Some(Wanted { size, align: part.align })
    }

    /// Gives the memory that was [wanted](Outgoing::wanted) its address.
    #[inline]
    pub fn place(&mut self, address: u32) -> Result<()> {
        let part = self.parts.get_mut(self.placed).ok_or_else(|| Error::msg("no memory was asked for"))?;
        aligned(address, part.align)?;
        part.address = address;
        self.placed += 1;
        write(&mut self.fixed, part.pointer, &address.to_le_bytes())
    }

    /// Writes everything, now that each part has an address.
    #[inline]
    pub fn deliver(&mut self, memory: &mut [u8]) -> Result<()> {
        write(memory, self.address, range(&self.fixed, 0, self.size)?)?;
        for part in self.parts.drain(..) {
            match part.content {
                Content::Bytes(bytes) => write(memory, part.address, &bytes)?,
                Content::Fixed { at, size } => write(memory, part.address, range(&self.fixed, at, size)?)?,
            }
        }
        self.fixed.clear();
        self.fixed.shrink_to(KEPT_BYTES);
        self.parts.shrink_to(KEPT_PARTS);
        Ok(())
    }
}

/// What is kept for the next value, so that one long list does not take memory as long as its instance lives.
const KEPT_BYTES: usize = 4096;
const KEPT_PARTS: usize = 128;

fn range(bytes: &[u8], at: u32, size: u32) -> Result<&[u8]> {
    bytes.get(at as usize..).and_then(|rest| rest.get(..size as usize)).ok_or_else(out_of_bounds)
}

fn write(into: &mut [u8], at: u32, bytes: &[u8]) -> Result<()> {
    let place = into.get_mut(at as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
    place.ok_or_else(out_of_bounds)?.copy_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_not_kept() {
        let (mut outgoing, mut memory) = (Outgoing::default(), vec![0; 1 << 20]);
        outgoing.start(8, 4, 0).unwrap();
        let first = outgoing.list(10_000, 8, 4, 0).unwrap();
        for number in 0..10_000 {
            outgoing.bytes(vec![7], first + 8 * number).unwrap();
        }
        let mut address = 8;
        while let Some(wanted) = outgoing.wanted() {
            outgoing.place(address).unwrap();
            address += wanted.size.next_multiple_of(4);
        }
        outgoing.deliver(&mut memory).unwrap();
        assert_eq!(memory[80_008], 7, "the first text is after the list");
        assert!(outgoing.fixed.capacity() <= 2 * KEPT_BYTES && outgoing.parts.capacity() <= 2 * KEPT_PARTS);
        outgoing.start(8, 4, 16).unwrap();
        assert_eq!(outgoing.wanted(), None);
    }
}
