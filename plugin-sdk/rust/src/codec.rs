//! Bodies compressed and decompressed by the gateway, natively and as they stream.
//!
//! A plugin asks in the header hook of a direction; the bytes never come to it. A body hook that it has as well comes after
//! what is decompressed and before what is compressed. What the headers say (`content-encoding`, `vary`, `etag`) is the
//! plugin's own.

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

/// What a decompressed body may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of the whole.
    pub bytes: u64,
    /// How many times as long as what came. A body within 1 MiB may be denser.
    pub ratio: u32,
}

impl Coding {
    /// All of them, the one that serves most first.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Br, Self::Gzip];

    /// As `Content-Encoding` names it.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Br => "br",
            Self::Zstd => "zstd",
        }
    }

    /// The coding of this name, in any case; `x-gzip` is `gzip` (RFC 9110 section 8.4.1.3).
    #[must_use]
    pub fn named(token: &str) -> Option<Self> {
        let token = token.trim_matches([' ', '\t']);
        if token.eq_ignore_ascii_case("x-gzip") {
            return Some(Self::Gzip);
        }
        Self::ALL.into_iter().find(|coding| coding.token().eq_ignore_ascii_case(token))
    }
}

/// Has the body of `direction` compressed. `level` as the coding counts them, from 1 to 9 at the most; 0 is what serves
/// most. Asking twice, the second one counts.
///
/// # Errors
/// [`MutateError::WrongPhase`] but in the header hook of that direction.
pub fn compress(direction: Direction, coding: Coding, level: u32) -> Result<(), MutateError> {
    host::compress(direction, coding, level)
}

/// Has the body of `direction` decompressed. A request that is over the bounds is answered with 413, one that is not of this
/// coding with 400; of a response 502, or it is broken off where its head was sent already.
///
/// # Errors
/// As [`compress`].
pub fn decompress(direction: Direction, coding: Coding, bounds: Bounds) -> Result<(), MutateError> {
    host::decompress(direction, coding, bounds)
}

/// Has a response's body decompressed that is held whole, by its `Content-Encoding`; false where that is none that is known.
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

/// How much is held is bounded by `limits.body` before that.
const WHOLE: Bounds = Bounds { bytes: 64 << 20, ratio: 1000 };
