//! A name and a password from `Authorization` (RFC 7617 section 2), parsed strictly: a text that two readers could take
//! for two different names is refused.

use base64::{Engine, engine::general_purpose::STANDARD};
use gatewright_sdk::Exchange;

/// The credentials of a client.
pub(crate) struct Credentials {
    pub(crate) name: String,
    pub(crate) password: String,
}

pub(crate) enum Found {
    /// No `Authorization`, or one of another scheme.
    Nothing,
    One(Credentials),
    Malformed,
}

pub(crate) fn find(exchange: &Exchange) -> Found {
    let values = exchange.request_headers().values("authorization");
    match values.as_slice() {
        [] => Found::Nothing,
        [value] => read(value),
        // The upstream might take the other one.
        _ => Found::Malformed,
    }
}

fn read(value: &[u8]) -> Found {
    let Ok(value) = str::from_utf8(value) else { return Found::Malformed };
    let (scheme, encoded) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("basic") {
        return Found::Nothing;
    }
    if encoded.len() > MOST_BYTES {
        return Found::Malformed;
    }
    decode(encoded.trim_matches(' ')).map_or(Found::Malformed, Found::One)
}

/// Base64 with its padding and no stray bits, UTF-8, a colon, no control characters, and a name.
fn decode(encoded: &str) -> Option<Credentials> {
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    let is_clean = !name.is_empty() && !text.chars().any(char::is_control);
    is_clean.then(|| Credentials { name: name.to_owned(), password: password.to_owned() })
}

/// Limit for the encoded credentials; the longest name and password are far below it.
const MOST_BYTES: usize = 4096;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read() {
        let name_and_password = |found| match found {
            Found::One(Credentials { name, password }) => format!("{name}|{password}"),
            Found::Nothing => "nothing".to_owned(),
            Found::Malformed => "malformed".to_owned(),
        };
        let long = format!("Basic {}", STANDARD.encode("a:".to_owned() + &"b".repeat(4000)));
        for (value, expected) in [
            (b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==".as_slice(), "Aladdin|open sesame"),
            (b"basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin|open sesame"),
            (b"BASIC  QWxhZGRpbjpvcGVuIHNlc2FtZQ== ", "Aladdin|open sesame"),
            (b"Basic dGVzdDoxMjPCow==", "test|123\u{a3}"),
            (b"Basic YTpiOmM=", "a|b:c"),
            (b"Basic YTo=", "a|"),
            (b"Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "nothing"),
            (b"", "nothing"),
            (b"Basic", "malformed"),
            (b"Basic ", "malformed"),
            // No colon; no name.
            (b"Basic YWJj", "malformed"),
            (b"Basic OmI=", "malformed"),
            // Missing or excess padding, stray bits, another alphabet, spaces and line ends inside.
            (b"Basic YTo", "malformed"),
            (b"Basic YTo==", "malformed"),
            (b"Basic YTp=", "malformed"),
            (b"Basic YTpiYg", "malformed"),
            (b"Basic YTo_Pw==", "malformed"),
            (b"Basic YT pi", "malformed"),
            (b"Basic YTpi,YTpi", "malformed"),
            (b"Basic YTpi Basic YTpi", "malformed"),
            // Not UTF-8, before and after decoding.
            (b"Basic \xff", "malformed"),
            (b"Basic YTr/", "malformed"),
            // NUL, line end, DEL.
            (b"Basic YTpiAA==", "malformed"),
            (b"Basic YTpiCg==", "malformed"),
            (b"Basic fzpi", "malformed"),
            (long.as_bytes(), "malformed"),
        ] {
            assert_eq!(name_and_password(read(value)), expected, "{}", String::from_utf8_lossy(value));
        }
    }
}
