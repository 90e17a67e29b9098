//! The first message of a TLS client (RFC 8446, section 4.1.2; RFC 5246, section 7.4.1.2), read as it comes and only as
//! far as its server name (RFC 6066, section 3).
//!
//! The bytes are kept as they came, to be forwarded. Strict: what no TLS client sends is refused here and reaches no
//! server. Bounded: [`MOST_MESSAGE_BYTES`] of message, [`MOST_BYTES`] with its framing, and work in proportion to that,
//! however the bytes are cut.

use std::fmt;

/// Reads a ClientHello piece by piece.
#[derive(Debug, Default)]
pub struct Reader {
    /// Everything that was pushed.
    raw: Vec<u8>,
    /// How much of it has been parsed.
    seen: usize,
    /// Unparsed bytes of the current record.
    record_left: usize,
    /// The handshake message, without record framing.
    message: Vec<u8>,
}

/// What a ClientHello says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The host name that the client asks for, in lower case; `None` if it names none.
    pub server_name: Option<Box<str>>,
}

/// Why bytes are not a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloError {
    /// Not a TLS record with a handshake message.
    NotTls,
    /// A record with this invalid length.
    RecordLength(usize),
    /// Another handshake message, of this type.
    NotHello(u8),
    /// Longer than [`MOST_MESSAGE_BYTES`], or split into too many records.
    TooLong,
    /// A field that extends beyond its container, or leaves bytes over.
    Malformed(&'static str),
    /// A server name that is not a host name.
    Name,
}

impl Reader {
    /// Adds bytes. Returns the hello once it is complete.
    ///
    /// # Errors
    /// The bytes cannot become a ClientHello; further bytes change nothing.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<ClientHello>, HelloError> {
        self.raw.extend_from_slice(bytes);
        loop {
            if self.record_left == 0 && !self.begin_record()? {
                break;
            }
            let fragment = self.raw.get(self.seen..).unwrap_or_default();
            let fragment = fragment.get(..self.record_left).unwrap_or(fragment);
            if fragment.is_empty() {
                break;
            }
            self.message.extend_from_slice(fragment);
            self.seen += fragment.len();
            self.record_left -= fragment.len();
            if let Some(hello) = self.whole()? {
                return Ok(Some(hello));
            }
        }
        if self.raw.len() > MOST_BYTES { Err(HelloError::TooLong) } else { Ok(None) }
    }

    /// Everything that was pushed.
    pub fn into_bytes(self) -> Vec<u8> {
        self.raw
    }

    /// Reads a record's header; false if it is incomplete.
    fn begin_record(&mut self) -> Result<bool, HelloError> {
        let header = self.raw.get(self.seen..).unwrap_or_default();
        // A wrong type or version is detected before the length has arrived.
        if header.first().is_some_and(|kind| *kind != HANDSHAKE) || header.get(1).is_some_and(|major| *major != 3) {
            return Err(HelloError::NotTls);
        }
        let [_, _, _, high, low, ..] = *header else { return Ok(false) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > MOST_RECORD_BYTES {
            return Err(HelloError::RecordLength(length));
        }
        self.record_left = length;
        self.seen += HEADER_BYTES;
        Ok(true)
    }

    /// The hello, if the message is complete.
    fn whole(&self) -> Result<Option<ClientHello>, HelloError> {
        let Some(&kind) = self.message.first() else { return Ok(None) };
        if kind != CLIENT_HELLO {
            return Err(HelloError::NotHello(kind));
        }
        let [_, a, b, c, ref body @ ..] = self.message[..] else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
        if length > MOST_MESSAGE_BYTES {
            return Err(HelloError::TooLong);
        }
        if body.len() < length {
            return Ok(None);
        }
        // Keys may change after this message, so nothing may follow in its record (RFC 8446, section 5.1).
        if body.len() > length || self.record_left > 0 {
            return Err(HelloError::Malformed("another message in its record"));
        }
        parse(body).map(Some)
    }
}

/// Parses the body of a ClientHello.
///
/// # Errors
/// The bytes are not a ClientHello.
pub fn parse(body: &[u8]) -> Result<ClientHello, HelloError> {
    let mut body = Fields(body);
    let version = body.take(2).ok_or(HelloError::Malformed("version"))?;
    if version.first() != Some(&3) {
        return Err(HelloError::Malformed("version"));
    }
    body.take(32).ok_or(HelloError::Malformed("random"))?;
    body.vector(1).filter(|id| id.0.len() <= 32).ok_or(HelloError::Malformed("session id"))?;
    let suites = body.vector(2).filter(|suites| !suites.0.is_empty() && suites.0.len().is_multiple_of(2));
    suites.ok_or(HelloError::Malformed("cipher suites"))?;
    body.vector(1).filter(|methods| !methods.0.is_empty()).ok_or(HelloError::Malformed("compression methods"))?;
    if body.0.is_empty() {
        return Ok(ClientHello::default());
    }
    let extensions = body.vector(2).filter(|_| body.0.is_empty()).ok_or(HelloError::Malformed("extensions"))?;
    find_name(extensions)
}

fn find_name(mut extensions: Fields<'_>) -> Result<ClientHello, HelloError> {
    let mut hello = ClientHello::default();
    let mut seen = false;
    while !extensions.0.is_empty() {
        let kind = extensions.take(2).ok_or(HelloError::Malformed("extension"))?;
        let data = extensions.vector(2).ok_or(HelloError::Malformed("extension"))?;
        if kind == SERVER_NAME {
            if std::mem::replace(&mut seen, true) {
                return Err(HelloError::Malformed("server name twice"));
            }
            hello.server_name = Some(server_name(data)?);
        }
    }
    Ok(hello)
}

fn server_name(mut data: Fields<'_>) -> Result<Box<str>, HelloError> {
    let malformed = HelloError::Malformed("server name");
    let mut list = data.vector(2).filter(|_| data.0.is_empty()).ok_or(malformed)?;
    // Only one type of name exists, and each type occurs once.
    let [HOST_NAME] = *list.take(1).ok_or(malformed)? else { return Err(malformed) };
    let name = list.vector(2).filter(|_| list.0.is_empty()).ok_or(malformed)?;
    if !is_host_name(name.0) {
        return Err(HelloError::Name);
    }
    let name = std::str::from_utf8(name.0).map_err(|_| HelloError::Name)?;
    Ok(name.to_ascii_lowercase().into_boxed_str())
}

/// Labels of letters, digits, `-` and `_`, without a trailing dot.
fn is_host_name(name: &[u8]) -> bool {
    let label = |label: &[u8]| {
        (1..=63).contains(&label.len())
            && label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_')
    };
    name.len() <= 253 && name.split(|byte| *byte == b'.').all(label)
}

/// A cursor that takes bytes from the front.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A field with a length prefix of this many bytes.
    fn vector(&mut self, length_bytes: usize) -> Option<Fields<'a>> {
        let length = self.take(length_bytes)?;
        let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        self.take(length).map(Fields)
    }
}

impl fmt::Display for HelloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HelloError::NotTls => f.write_str("it does not speak TLS"),
            HelloError::RecordLength(length) => write!(f, "a TLS record of {length} bytes"),
            HelloError::NotHello(kind) => write!(f, "it begins with handshake message {kind}, not a ClientHello"),
            HelloError::TooLong => write!(f, "a ClientHello longer than {MOST_MESSAGE_BYTES} bytes"),
            HelloError::Malformed(what) => write!(f, "a malformed ClientHello ({what})"),
            HelloError::Name => f.write_str("a server name that is no host name"),
        }
    }
}

impl std::error::Error for HelloError {}

/// Real ones have up to some 2 KiB, with post-quantum key shares.
pub const MOST_MESSAGE_BYTES: usize = 16 << 10;

/// Including record framing; a client may make records as short as it likes.
pub const MOST_BYTES: usize = 2 * MOST_MESSAGE_BYTES;

const MOST_RECORD_BYTES: usize = 1 << 14;
const HEADER_BYTES: usize = 5;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: &[u8] = &[0, 0];
const HOST_NAME: u8 = 0;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
