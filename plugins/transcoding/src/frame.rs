//! gRPC's frames: a byte of flags, a length of four bytes, a message.

/// Bytes before each message.
pub const HEAD_BYTES: usize = 5;

/// The first item in a stream of frames.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A message with its flags, and the rest of the bytes.
    Frame {
        flags: u8,
        message: &'a [u8],
        rest: &'a [u8],
    },
    /// The beginning of a frame, which is complete with this many bytes.
    Needs(usize),
    Nothing,
}

/// Reads the first item.
#[must_use]
pub fn next(bytes: &[u8]) -> Next<'_> {
    let Some((head, behind)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return if bytes.is_empty() { Next::Nothing } else { Next::Needs(HEAD_BYTES) };
    };
    let [flags, a, b, c, d] = *head;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    match behind.split_at_checked(length) {
        Some((message, rest)) => Next::Frame { flags, message, rest },
        None => Next::Needs(HEAD_BYTES.saturating_add(length)),
    }
}

/// Appends a frame.
pub fn push(to: &mut Vec<u8>, flags: u8, message: &[u8]) {
    to.reserve(HEAD_BYTES + message.len());
    to.push(flags);
    // A body longer than 4 GiB exceeds every limit long before.
    to.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    to.extend_from_slice(message);
}

/// A frame of its own.
#[must_use]
pub fn of(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    push(&mut frame, 0, message);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        let mut bytes = of(b"ab");
        push(&mut bytes, 1, b"");
        assert_eq!(bytes, b"\0\0\0\0\x02ab\x01\0\0\0\0");
        let Next::Frame { flags: 0, message: b"ab", rest } = next(&bytes) else { panic!() };
        assert_eq!(next(rest), Next::Frame { flags: 1, message: b"", rest: b"" });
        for (bytes, expected) in [
            (&b""[..], Next::Nothing),
            (b"\0", Next::Needs(5)),
            (b"\0\0\0\0\x02a", Next::Needs(7)),
            (b"\0\xff\xff\xff\xff", Next::Needs(5 + 0xffff_ffff)),
        ] {
            assert_eq!(next(bytes), expected);
        }
    }
}
