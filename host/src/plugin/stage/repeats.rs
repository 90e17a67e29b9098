//! Bounds how much of a body is shown to a hook again.
//!
//! Data that a hook holds back is shown to it again with the next chunk, and the sender of the body decides how small the chunks
//! are: a line of one mebibyte in single bytes would be shown a million times, half of it on average. So the bytes shown again are
//! bounded by the bytes that arrived; a hook that has used up this allowance waits until more has arrived. The wait is at most
//! a thirtieth of what is held, and bodies in chunks of the usual size never come near the bound, so events are not delayed.

/// Counts the bytes that arrived and the bytes that were shown again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Repeats {
    came: usize,
    again: usize,
}

impl Repeats {
    /// Notes that this many bytes arrived.
    pub fn came(&mut self, bytes: usize) {
        self.came = self.came.saturating_add(bytes);
    }

    /// Notes that this many bytes are shown again.
    pub fn again(&mut self, bytes: usize) {
        self.again = self.again.saturating_add(bytes);
    }

    /// Whether this many bytes may be shown again now.
    pub fn may_repeat(&self, bytes: usize) -> bool {
        let most = self.came.saturating_mul(TIMES).saturating_add(FREE_BYTES);
        self.again.saturating_add(bytes) <= most
    }
}

/// How often each byte may be shown again, on average.
const TIMES: usize = 32;
/// Bytes that may be shown again in addition, so that short bodies never wait.
const FREE_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends chunks of one size to a hook that holds them all. Returns how often the hook is called, and its total
    /// input in bytes.
    fn held(chunks: usize, size: usize) -> (usize, usize) {
        let (mut repeats, mut held, mut calls, mut bytes, mut waits) = (Repeats::default(), 0, 0, 0, 0);
        for _ in 0..chunks {
            repeats.came(size);
            if repeats.may_repeat(held + waits) {
                repeats.again(held + waits);
                held += waits + size;
                waits = 0;
                calls += 1;
                bytes += held;
            } else {
                waits += size;
                assert!(waits <= held / 30 + size, "{waits} bytes wait where {held} are held");
            }
        }
        (calls, bytes)
    }

    #[test]
    fn what_is_shown_grows_with_what_came_however_small_the_chunks_are() {
        for chunks in [10_000, 100_000, 1_000_000] {
            let (calls, bytes) = held(chunks, 1);
            assert!(bytes <= 33 * chunks + FREE_BYTES, "{chunks}: {bytes} bytes");
            assert!(calls <= 2000, "{chunks}: {calls} calls");
        }
    }

    #[test]
    fn what_comes_as_networks_cut_it_is_shown_at_once() {
        for (chunks, size) in [(1000, 1), (60, 1_448), (700, 1_448), (60, 16_384)] {
            let is_short = chunks <= 60 || chunks * size <= 1_000;
            let (calls, _) = held(chunks, size);
            assert_eq!(calls == chunks, is_short, "{chunks} chunks of {size} bytes: {calls} calls");
        }
    }
}
