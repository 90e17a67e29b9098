//! A chunked body, parsed as strictly as RFC 9112 (section 7.1) defines it.
//!
//! A server that frames chunks differently is broken, or two messages have been mixed up, and how another reader would
//! understand it is unknown. Pure: it is given the bytes that have arrived, and says what the next of them are.

use memchr::memchr;

/// The position in a chunked body.
#[derive(Clone, Debug)]
pub(super) struct Chunks {
    at: At,
    /// Maximum bytes of the trailers.
    max_trailers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before the line with a chunk's size.
    Size,
    /// In the data of a chunk, of which this many bytes remain.
    Data(u64),
    /// Before the line end after the data.
    DataEnd,
    Trailers,
    End,
}

/// What the next bytes are, and how many.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Framing between the data.
    Framing(usize),
    Data(usize),
    /// The trailers, if there are any, and the empty line that ends the body.
    End(usize),
    /// Cannot be told until more bytes arrive.
    More,
}

/// The bytes are not valid chunks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

impl Chunks {
    pub(super) fn new(max_trailers: usize) -> Self {
        Chunks { at: At::Size, max_trailers }
    }

    pub(super) fn is_over(&self) -> bool {
        self.at == At::End
    }

    /// Checks that the bytes so far can be chunks.
    pub(super) fn check(&self, mut bytes: &[u8]) -> Result<(), Broken> {
        let mut chunks = self.clone();
        loop {
            match chunks.next(bytes)? {
                Next::Framing(count) | Next::Data(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Next::End(_) | Next::More => return Ok(()),
            }
        }
    }

    /// Says what the first of these bytes are, and moves past them.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<Next, Broken> {
        match self.at {
            At::Size => {
                let Some(end) = memchr(b'\n', bytes) else {
                    let can_be = bytes.len() <= LINE_BYTES && bytes.first().is_none_or(u8::is_ascii_hexdigit);
                    return if can_be { Ok(Next::More) } else { Err(Broken) };
                };
                let line = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r"));
                let size = line.filter(|line| line.len() <= LINE_BYTES).and_then(size).ok_or(Broken)?;
                self.at = if size == 0 { At::Trailers } else { At::Data(size) };
                Ok(Next::Framing(end + 1))
            }
            At::Data(_) if bytes.is_empty() => Ok(Next::More),
            At::Data(left) => {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let left = left - here as u64;
                self.at = if left == 0 { At::DataEnd } else { At::Data(left) };
                Ok(Next::Data(here))
            }
            At::DataEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    self.at = At::Size;
                    Ok(Next::Framing(2))
                }
                [] | [b'\r'] => Ok(Next::More),
                _ => Err(Broken),
            },
            At::Trailers => match end_of_trailers(bytes) {
                Some(length) if length <= self.max_trailers.saturating_add(2) => {
                    self.at = At::End;
                    Ok(Next::End(length))
                }
                None if bytes.len() <= self.max_trailers => Ok(Next::More),
                _ => Err(Broken),
            },
            At::End => Ok(Next::More),
        }
    }
}

/// `chunk-size [ chunk-ext ]`. More than sixteen digits are refused; white space is allowed only before an extension.
fn size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at_checked(digits).filter(|(digits, _)| (1..=16).contains(&digits.len()))?;
    let extension = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t'));
    let is_extension = |rest: &[u8]| {
        rest.first() == Some(&b';') && rest.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..))
    };
    match extension {
        None if rest.is_empty() => {}
        Some(at) if rest.get(at..).is_some_and(is_extension) => {}
        _ => return None,
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Length of the trailers including the empty line at their end.
fn end_of_trailers(bytes: &[u8]) -> Option<usize> {
    let mut line = 0;
    while let Some(length) = memchr(b'\n', bytes.get(line..)?) {
        let is_empty = matches!(bytes.get(line..line + length), Some([] | [b'\r']));
        line += length + 1;
        if is_empty {
            return Some(line);
        }
    }
    None
}

/// Maximum bytes of a chunk-size line.
const LINE_BYTES: usize = 4096;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The data of a body and whether it is complete; the same however the body is cut into pieces.
    fn read(body: &[u8]) -> Result<(Vec<u8>, bool), Broken> {
        let read_in = |size: usize| {
            let (mut chunks, mut input, mut data) = (Chunks::new(100), Vec::new(), Vec::new());
            for piece in body.chunks(size) {
                input.extend_from_slice(piece);
                loop {
                    match chunks.next(&input)? {
                        Next::Framing(count) => drop(input.drain(..count)),
                        Next::Data(count) => data.extend(input.drain(..count)),
                        Next::End(count) => drop(input.drain(..count)),
                        Next::More => break,
                    }
                }
            }
            Ok((data, chunks.is_over()))
        };
        let whole = read_in(body.len().max(1));
        assert_eq!(Chunks::new(100).check(body).is_err(), whole.is_err());
        for size in [1, 2, 3, 7, 16] {
            assert_eq!(read_in(size), whole, "in pieces of {size}: {}", String::from_utf8_lossy(body));
        }
        whole
    }

    #[test]
    fn chunks_and_what_is_none() {
        for (body, expected) in [
            ("5\r\nhello\r\n0\r\n\r\n", Ok(("hello", true))),
            ("5;a=b\r\nhello\r\n0;c\r\nx: y\r\n\r\n", Ok(("hello", true))),
            ("5 ; a\r\nhello\r\n0\r\n\r\n", Ok(("hello", true))),
            ("000A\r\n0123456789\r\n0\r\n\r\n", Ok(("0123456789", true))),
            ("2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", Ok(("abc", true))),
            ("5\r\nhel", Ok(("hel", false))),
            ("5\r\nhello\r\n0\r\n", Ok(("hello", false))),
            ("", Ok(("", false))),
            ("5 \r\nhello\r\n0\r\n\r\n", Err(Broken)),
            ("5\t\r\nhello\r\n", Err(Broken)),
            ("5\nhello\r\n", Err(Broken)),
            ("5;a\nhello\r\n", Err(Broken)),
            ("5;\0\r\nhello\r\n", Err(Broken)),
            (" 5\r\nhello\r\n", Err(Broken)),
            ("\r\n", Err(Broken)),
            ("+5\r\nhello\r\n", Err(Broken)),
            ("0x5\r\nhello\r\n", Err(Broken)),
            ("5\r\nhello!\r\n0\r\n\r\n", Err(Broken)),
            ("5\r\nhello\n0\r\n\r\n", Err(Broken)),
            ("00000000000000005\r\nhello\r\n", Err(Broken)),
            ("{\"json\": true}", Err(Broken)),
        ] {
            let expected = expected.map(|(data, over)| (data.as_bytes().to_vec(), over));
            assert_eq!(read(body.as_bytes()), expected, "{body:?}");
        }
        let long = format!("0\r\n{}\r\n", "a: b\r\n".repeat(20));
        assert_eq!(read(long.as_bytes()), Err(Broken), "more trailers than allowed");
    }

    proptest! {
        #[test]
        fn what_is_written_as_chunks_is_read_as_such(pieces in vec(vec(any::<u8>(), 1..300), 0..20), cut in any::<prop::sample::Index>()) {
            let mut body = Vec::new();
            for piece in &pieces {
                body.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                body.extend_from_slice(piece);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(read(&body), Ok((pieces.concat(), true)));
            body.truncate(cut.index(body.len()));
            let (data, is_over) = read(&body).unwrap();
            prop_assert!(!is_over && pieces.concat().starts_with(&data));
        }

        #[test]
        fn no_bytes_break_the_reader(bytes in vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }
    }
}
