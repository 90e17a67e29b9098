//! Bodies compressed and decompressed by the gateway, natively and as they stream.
//!
//! A plugin asks for it in the header hook of a direction and never sees those bytes. A body hook of the same plugin
//! runs after decompression and before compression. The headers `content-encoding`, `vary` and `etag` are for the
//! plugin to change.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Direction, MutateError, host::codec as host};

mod accept_encoding;

pub use accept_encoding::AcceptEncoding;

/// A content coding (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Br,
    /// RFC 8878.
    Zstd,
}

/// Limits for a decompressed body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of the whole body.
    pub bytes: u64,
    /// How many times as long as the compressed body. A body within 1 MiB may exceed this ratio.
    pub ratio: u32,
}

impl Coding {
    /// All codings, the best general choice first.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Br, Self::Gzip];

    /// The name in `Content-Encoding`.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Br => "br",
            Self::Zstd => "zstd",
        }
    }

    /// The coding with this name, in any case; `x-gzip` is `gzip` (RFC 9110 section 8.4.1.3).
    #[must_use]
    pub fn named(token: &str) -> Option<Self> {
        let token = token.trim_matches([' ', '\t']);
        if token.eq_ignore_ascii_case("x-gzip") {
            return Some(Self::Gzip);
        }
        Self::ALL.into_iter().find(|coding| coding.token().eq_ignore_ascii_case(token))
    }
}

/// Compresses the body of `direction`. `level` is the coding's own, but 1 to 9 at the most; 0 chooses a good default.
/// If called twice, the second call counts.
///
/// # Errors
/// [`MutateError::WrongPhase`] except in the header hook of that direction.
pub fn compress(direction: Direction, coding: Coding, level: u32) -> Result<(), MutateError> {
    host::compress(direction, coding, level)
}

/// Decompresses the body of `direction`. A request over the bounds is answered with 413, one that is not in this coding
/// with 400. A response is replaced by a 502, or broken off if its head was already sent.
///
/// # Errors
/// As [`compress`].
pub fn decompress(direction: Direction, coding: Coding, bounds: Bounds) -> Result<(), MutateError> {
    host::decompress(direction, coding, bounds)
}

/// Decompresses a response's body that is held whole, by its `Content-Encoding`; false if it names no known coding.
///
/// # Errors
/// As [`compress`].
pub fn decompress_whole(content_encoding: Option<&str>) -> Result<bool, MutateError> {
    let coding = content_encoding.map(str::trim).filter(|coding| !coding.eq_ignore_ascii_case("identity"));
    match coding.map(Coding::named) {
        None => Ok(true),
        Some(None) => Ok(false),
        Some(Some(coding)) => decompress(Direction::Response, coding, WHOLE).map(|()| true),
    }
}

/// `limits.body` bounds the held bytes before this does.
const WHOLE: Bounds = Bounds { bytes: 64 << 20, ratio: 1000 };
