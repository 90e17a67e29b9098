//! The framing of a chunked response, read as strictly as RFC 9112 (section 7.1) writes it.
//!
//! hyper takes spaces after a chunk's size, which the grammar does not have. A server that sends them is broken, or two
//! messages have been mixed up, and what another reader makes of it is anybody's guess. So the bytes are walked once
//! more as they come from the socket: over sizes and line ends only, the data is skipped.
//!
//! Whether a response is chunked is known above, when hyper has parsed its head. So every response is walked as if it
//! were, from the end of its head on; another body is found to be no chunks at its first byte, and that ends the walk.
//! For a response that comes whole, this costs a search for the end of its head.

use std::sync::LazyLock;

use memchr::memchr;
use memchr::memmem::Finder;

/// Where in a response the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before the first byte of a head; empty lines may come first.
    Start,
    /// In the status line, with so many of its bytes behind, and the class of the status once it was there.
    Status {
        behind: u8,
        class: u8,
    },
    /// In the head: the line so far has nothing but a CR at most.
    EmptyLine(Then),
    /// In the head: the line has something.
    Line(Then),
    /// In a chunk's size: so many digits, and their value.
    Size {
        digits: u8,
        value: u64,
    },
    /// In white space after the size, which a `;` has to follow.
    Space {
        value: u64,
    },
    /// In a chunk's extension.
    Extension {
        value: u64,
    },
    /// After the CR that ends the line of a chunk's size.
    SizeLf {
        value: u64,
    },
    /// In data, with so much to come.
    Data(u64),
    /// The CR and the LF after it.
    DataCr,
    DataLf,
    /// In the trailers: the line so far has nothing but a CR at most.
    EmptyTrailer,
    /// In the trailers: the line has something.
    Trailer,
    /// All of it was there.
    End,
    /// These are no chunks.
    Broken,
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Body,
    /// The head was an informational one.
    Head,
    /// Another protocol.
    Nothing,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Chunks(At);

impl Chunks {
    pub(super) fn new() -> Self {
        Chunks(At::Start)
    }

    /// Another response begins.
    pub(super) fn restart(&mut self) {
        self.0 = At::Start;
    }

    /// Whether the body so far is no valid chunks.
    pub(super) fn is_broken(&self) -> bool {
        self.0 == At::Broken
    }

    /// Walks over bytes as they came.
    pub(super) fn walk(&mut self, mut bytes: &[u8]) {
        if self.0 == At::Start
            && let Some(body) = behind_head(bytes)
        {
            (self.0, bytes) = (At::Size { digits: 0, value: 0 }, body);
        }
        while let Some((&byte, rest)) = bytes.split_first() {
            (self.0, bytes) = match self.0 {
                At::End | At::Broken => return,
                At::Data(left) => skip(left, bytes),
                At::Line(then) => to_line_end(bytes, At::EmptyLine(then), self.0),
                At::Trailer => to_line_end(bytes, At::EmptyTrailer, self.0),
                at => (at.after(byte), rest),
            };
        }
    }
}

impl At {
    /// Where the byte after this one is.
    fn after(self, byte: u8) -> At {
        match (self, byte) {
            (At::Start, b'\r' | b'\n') => At::Start,
            (At::Start, _) => At::Status { behind: 1, class: 0 },
            (At::Status { .. }, b'\n') => At::EmptyLine(Then::Body),
            (At::Status { behind: CLASS_AT, .. }, class) => At::Status { behind: CLASS_AT + 1, class },
            (At::Status { behind: LAST_DIGIT_AT, class }, digit) => At::Line(match (class, digit) {
                (b'1', b'1') => Then::Nothing,
                (b'1', _) => Then::Head,
                _ => Then::Body,
            }),
            (At::Status { behind, class }, _) => At::Status { behind: behind + 1, class },
            (At::EmptyLine(_), b'\r') => self,
            (At::EmptyLine(Then::Body), b'\n') => At::Size { digits: 0, value: 0 },
            (At::EmptyLine(Then::Head), b'\n') => At::Start,
            (At::EmptyLine(Then::Nothing), b'\n') => At::End,
            (At::EmptyLine(then), _) => At::Line(then),
            (At::Size { digits, value }, _) => after_size(digits, value, byte),
            (At::Space { .. }, b' ' | b'\t') => self,
            (At::Space { value }, b';') => At::Extension { value },
            (At::Extension { value }, b'\r') => At::SizeLf { value },
            (At::Extension { .. }, b'\t' | b' '..=b'~' | 0x80..) => self,
            (At::SizeLf { value: 0 }, b'\n') => At::EmptyTrailer,
            (At::SizeLf { value }, b'\n') => At::Data(value),
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size { digits: 0, value: 0 },
            (At::EmptyTrailer, b'\r') => self,
            (At::EmptyTrailer, b'\n') => At::End,
            (At::EmptyTrailer, _) => At::Trailer,
            _ => At::Broken,
        }
    }
}

/// What comes behind the head of a final response, where all of the head is here and its lines end as they should: the
/// usual case, in one search. Whatever is unusual is walked over byte by byte.
fn behind_head(bytes: &[u8]) -> Option<&[u8]> {
    static EMPTY_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n\r\n"));
    let is_final = bytes.starts_with(b"HTTP/1.") && matches!(bytes.get(usize::from(CLASS_AT)), Some(b'2'..=b'5'));
    let line_end = memchr(b'\n', bytes).filter(|_| is_final)?;
    if bytes.get(line_end.checked_sub(1)?) != Some(&b'\r') {
        return None;
    }
    let rest = bytes.get(line_end..)?;
    rest.get(EMPTY_LINE.find(rest)?.checked_add(EMPTY_LINE.needle().len())?..)
}

/// `chunk-size = 1*HEXDIG`, and more of them than a length has is no length.
fn after_size(digits: u8, value: u64, byte: u8) -> At {
    match char::from(byte).to_digit(16) {
        Some(digit) if digits < 16 => At::Size { digits: digits + 1, value: (value << 4) | u64::from(digit) },
        None if digits > 0 => match byte {
            b'\r' => At::SizeLf { value },
            b';' => At::Extension { value },
            b' ' | b'\t' => At::Space { value },
            _ => At::Broken,
        },
        _ => At::Broken,
    }
}

fn skip(left: u64, bytes: &[u8]) -> (At, &[u8]) {
    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    let rest = bytes.get(here..).unwrap_or_default();
    match left.saturating_sub(here as u64) {
        0 => (At::DataCr, rest),
        left => (At::Data(left), rest),
    }
}

/// Goes on behind the next LF, where there is one.
fn to_line_end(bytes: &[u8], behind: At, within: At) -> (At, &[u8]) {
    match memchr(b'\n', bytes) {
        Some(at) => (behind, bytes.get(at.saturating_add(1)..).unwrap_or_default()),
        None => (within, &[]),
    }
}

/// `HTTP/1.1 ` has nine bytes: what stands before the first and before the last digit of the status.
const CLASS_AT: u8 = 9;
const LAST_DIGIT_AT: u8 = 11;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Whether the body is broken, and the same whatever the pieces are that it comes in.
    fn is_broken(response: &[u8]) -> bool {
        let walk = |size: usize| {
            let mut chunks = Chunks::new();
            response.chunks(size).for_each(|piece| chunks.walk(piece));
            chunks.0
        };
        let whole = walk(response.len().max(1));
        for size in [1, 2, 3, 7, 16] {
            assert_eq!(walk(size), whole, "in pieces of {size}: {}", String::from_utf8_lossy(response));
        }
        whole == At::Broken
    }

    #[test]
    fn chunks_and_what_is_none() {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        for (body, broken) in [
            ("5\r\nhello\r\n0\r\n\r\n", false),
            ("5;a=b\r\nhello\r\n0;c\r\nx: y\r\n\r\n", false),
            ("5 ; a\r\nhello\r\n0\r\n\r\n", false),
            ("000A\r\n0123456789\r\n0\r\n\r\n", false),
            ("5\r\nhel", false),
            ("", false),
            ("5 \r\nhello\r\n0\r\n\r\n", true),
            ("5\t\r\nhello\r\n", true),
            ("5\nhello\r\n", true),
            ("5;a\nhello\r\n", true),
            ("5;\0\r\nhello\r\n", true),
            (" 5\r\nhello\r\n", true),
            ("\r\n", true),
            ("+5\r\nhello\r\n", true),
            ("0x5\r\nhello\r\n", true),
            ("5\r\nhello!\r\n0\r\n\r\n", true),
            ("5\r\nhello\n0\r\n\r\n", true),
            ("00000000000000005\r\nhello\r\n", true),
            ("{\"json\": true}", true),
        ] {
            assert_eq!(is_broken(format!("{head}{body}").as_bytes()), broken, "{body:?}");
            let informed = format!("\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\n{head}{body}");
            assert_eq!(is_broken(informed.as_bytes()), broken, "{informed:?}");
        }
        assert!(!is_broken(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\nnothing of ours"));
        assert!(!is_broken(b"HTTP/1.1 200\nx: y\n\n2\r\nab\r\n"), "line ends that hyper takes, too");
    }

    proptest! {
        #[test]
        fn what_is_written_as_chunks_is_read_as_such(pieces in vec(vec(any::<u8>(), 1..300), 0..20), cut in any::<prop::sample::Index>()) {
            let mut response = b"HTTP/1.1 200 OK\r\na: b\r\n\r\n".to_vec();
            for piece in &pieces {
                response.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                response.extend_from_slice(piece);
                response.extend_from_slice(b"\r\n");
            }
            response.extend_from_slice(b"0\r\n\r\n");
            prop_assert!(!is_broken(&response));
            response.truncate(cut.index(response.len()));
            prop_assert!(!is_broken(&response));
        }

        #[test]
        fn no_bytes_break_the_walk(bytes in vec(any::<u8>(), 0..300)) {
            is_broken(&bytes);
        }
    }
}
