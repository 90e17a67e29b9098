//! The allocator of a plugin: lists of free pieces by size, in front of the standard one.
//!
//! A hook allocates memory for a few short texts and frees it at once, and a plugin that reads a body does so thousands
//! of times. The standard allocator (dlmalloc) searches for a fit and joins neighbours each time. Here a piece comes
//! from its list and goes back to it, in a handful of instructions. A piece keeps its size for ever: a list is never
//! longer than the most pieces of its size that were in use at once.

#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::UnsafeCell,
    ptr,
};

/// The lists, one for each size.
pub(crate) struct Lists {
    /// The first free piece of each size. A free piece begins with the address of the next one.
    first: [UnsafeCell<*mut u8>; SIZES],
}

/// Sizes are multiples of this; it has room for an address.
const STEP: usize = 16;
/// The number of sizes: up to 1,024 bytes.
const SIZES: usize = 64;
/// The alignment of pieces. Larger alignments are left to the standard allocator.
const ALIGNMENT: usize = 8;

#[cfg(all(target_family = "wasm", not(target_feature = "atomics")))]
#[global_allocator]
static LISTS: Lists = Lists::new();

// SAFETY: a component built without atomics has one thread, and `Lists` calls nothing that calls it back.
#[cfg(all(target_family = "wasm", not(target_feature = "atomics")))]
unsafe impl Sync for Lists {}

impl Lists {
    const fn new() -> Self {
        Self { first: [const { UnsafeCell::new(ptr::null_mut()) }; SIZES] }
    }

    /// The list for this layout, and the size of its pieces; `None` if the standard allocator serves it.
    fn list(&self, layout: Layout) -> Option<(&UnsafeCell<*mut u8>, usize)> {
        if layout.align() > ALIGNMENT {
            return None;
        }
        let place = layout.size().checked_sub(1)? / STEP;
        self.first.get(place).map(|first| (first, (place + 1) * STEP))
    }
}

// SAFETY: a piece is in its list or in use, never both: `alloc` takes it out, `dealloc`, which its user calls once,
// puts it back. A piece is as large and aligned as every layout that its list is for, since the list depends on the
// layout alone, which is the same for `alloc` and `dealloc`. Everything else is the standard allocator's.
unsafe impl GlobalAlloc for Lists {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((first, size)) = self.list(layout) else {
            // SAFETY: the caller's layout, which is not of size zero.
            return unsafe { System.alloc(layout) };
        };
        // SAFETY: there is one thread, and nothing below refers to the list while this reference is used.
        let first = unsafe { &mut *first.get() };
        let piece = *first;
        if piece.is_null() {
            // SAFETY: neither is zero, and sizes up to 1,024 bytes do not overflow.
            return unsafe { System.alloc(Layout::from_size_align_unchecked(size, ALIGNMENT)) };
        }
        // SAFETY: a piece in a list begins with the address of the next one, written by `dealloc`, and is aligned for it.
        *first = unsafe { piece.cast::<*mut u8>().read() };
        piece
    }

    #[inline]
    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        let Some((first, _)) = self.list(layout) else {
            // SAFETY: `alloc` got it from there, since the layout is the same.
            return unsafe { System.dealloc(piece, layout) };
        };
        // SAFETY: as in `alloc`.
        let first = unsafe { &mut *first.get() };
        // SAFETY: the caller no longer uses the piece, which is at least 16 bytes long and aligned for an address.
        unsafe { piece.cast::<*mut u8>().write(*first) };
        *first = piece;
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if self.list(layout).is_none() {
            // SAFETY: the caller's layout. Only the standard allocator knows which fresh memory is zero already.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: the caller's layout; the piece is at least as long.
        unsafe {
            let piece = self.alloc(layout);
            if !piece.is_null() {
                piece.write_bytes(0, layout.size());
            }
            piece
        }
    }

    #[inline]
    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller ensures that the size, rounded up to the alignment, does not overflow.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (self.list(layout), self.list(wanted)) {
            // SAFETY: `alloc` got it from there, and the new piece is the standard allocator's as well.
            (None, None) => unsafe { System.realloc(piece, layout, size) },
            (Some((_, have)), Some((_, need))) if have == need => piece,
            // SAFETY: the new piece is a different one, and both are at least as long as what is copied.
            _ => unsafe {
                let moved = self.alloc(wanted);
                if !moved.is_null() {
                    ptr::copy_nonoverlapping(piece, moved, layout.size().min(size));
                    self.dealloc(piece, layout);
                }
                moved
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Take { size: usize, align: usize, zeroed: bool },
        Resize { which: usize, size: usize },
        Give { which: usize },
    }

    fn step() -> impl Strategy<Value = Step> {
        let size = prop_oneof![8 => 1..80usize, 3 => 900..1100usize, 1 => 1..5000usize];
        let align = prop_oneof![Just(1usize), Just(4), Just(8), Just(16), Just(64)];
        prop_oneof![
            3 => (size.clone(), align, any::<bool>()).prop_map(|(size, align, zeroed)| Step::Take { size, align, zeroed }),
            2 => (any::<usize>(), size).prop_map(|(which, size)| Step::Resize { which, size }),
            3 => any::<usize>().prop_map(|which| Step::Give { which }),
        ]
    }

    /// A piece in use, and the byte that fills it.
    type Used = (*mut u8, Layout, u8);

    fn fill(&(piece, layout, byte): &Used) {
        // SAFETY: it is as long as its layout says.
        unsafe { piece.write_bytes(byte, layout.size()) };
    }

    fn is_whole(&(piece, layout, byte): &Used, length: usize) -> bool {
        // SAFETY: it was filled, and is as long as its layout says.
        let bytes = unsafe { std::slice::from_raw_parts(piece, layout.size().min(length)) };
        bytes.iter().all(|have| *have == byte) && piece.addr().is_multiple_of(layout.align())
    }

    proptest! {
        /// Pieces in use keep their bytes, whatever else is allocated and freed.
        #[test]
        fn pieces_in_use_are_nobody_elses(steps in prop::collection::vec(step(), 0..200)) {
            let lists = Lists::new();
            let mut used: Vec<Used> = Vec::new();
            for (byte, step) in (0..=u8::MAX).cycle().zip(steps) {
                match step {
                    Step::Take { size, align, zeroed } => {
                        let layout = Layout::from_size_align(size, align).unwrap_or(Layout::new::<u8>());
                        // SAFETY: the size is not zero.
                        let piece = unsafe { if zeroed { lists.alloc_zeroed(layout) } else { lists.alloc(layout) } };
                        prop_assert!(!piece.is_null());
                        prop_assert!(!zeroed || is_whole(&(piece, layout, 0), size));
                        used.push((piece, layout, byte));
                        used.last().into_iter().for_each(fill);
                    }
                    Step::Resize { which, size } if !used.is_empty() => {
                        let (piece, layout, had) = used.swap_remove(which % used.len());
                        // SAFETY: it is in use with this layout, and the size is not zero.
                        let moved = unsafe { lists.realloc(piece, layout, size) };
                        let resized = Layout::from_size_align(size, layout.align()).unwrap_or(layout);
                        prop_assert!(is_whole(&(moved, resized, had), layout.size()), "its bytes came along");
                        used.push((moved, resized, byte));
                        used.last().into_iter().for_each(fill);
                    }
                    Step::Give { which } if !used.is_empty() => {
                        let (piece, layout, _) = used.swap_remove(which % used.len());
                        // SAFETY: it is in use with this layout.
                        unsafe { lists.dealloc(piece, layout) };
                    }
                    Step::Resize { .. } | Step::Give { .. } => {}
                }
                prop_assert!(used.iter().all(|piece| is_whole(piece, usize::MAX)));
            }
            for (piece, layout, _) in used {
                // SAFETY: it is in use with this layout.
                unsafe { lists.dealloc(piece, layout) };
            }
        }
    }

    #[test]
    fn what_was_given_back_is_what_is_taken_next() {
        let lists = Lists::new();
        let layout = |size| Layout::from_size_align(size, 1).unwrap_or(Layout::new::<u8>());
        // SAFETY: sizes are not zero, and each piece is given back with a layout of its own size.
        unsafe {
            let (one, other) = (lists.alloc(layout(17)), lists.alloc(layout(32)));
            lists.dealloc(one, layout(17));
            assert_eq!(lists.alloc(layout(32)), one, "one list for 17 to 32 bytes");
            assert_eq!(lists.realloc(other, layout(32), 20), other);
            let larger = lists.realloc(other, layout(20), 33);
            assert_ne!(larger, other);
            assert_eq!(lists.alloc(layout(20)), other);
            for (piece, size) in [(one, 32), (larger, 33), (other, 20)] {
                lists.dealloc(piece, layout(size));
            }
        }
    }
}
