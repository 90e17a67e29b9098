//! Hexadecimal digits.

use std::fmt::Write;

/// The bytes in lower-case hexadecimal, two digits each.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_two_digits() {
        assert_eq!((encode(b""), encode(&[0, 0x0f, 0xa0, 0xff])), (String::new(), "000fa0ff".to_owned()));
    }
}
