//! Forms (`application/x-www-form-urlencoded`), as in queries and the requests of OAuth.

use std::borrow::Cow;

/// One part of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The pair as written.
    pub text: &'a str,
    /// The name, still encoded.
    pub name: &'a str,
    /// The value, still encoded.
    pub value: &'a str,
}

/// The parts of a form, in order.
pub fn pairs(form: &str) -> impl Iterator<Item = Pair<'_>> {
    form.split('&').map(|text| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        Pair { text, name, value }
    })
}

/// The only value of a name, decoded; `None` if it is absent, there twice, or not text.
#[must_use]
pub fn only<'a>(form: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut values = pairs(form).filter(|pair| decode(pair.name) == name.as_bytes()).map(|pair| decode(pair.value));
    let only = values.next()?;
    if values.next().is_some() {
        return None;
    }
    match only {
        Cow::Borrowed(bytes) => str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

/// Decodes `%XX` and `+`. A `%` without two digits stands for itself.
#[must_use]
pub fn decode(text: &str) -> Cow<'_, [u8]> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let Some((&byte, rest)) = bytes.split_first() {
        bytes = rest;
        decoded.push(match (byte, rest) {
            (b'+', _) => b' ',
            (b'%', [high, low, rest @ ..]) => match (hex_digit(*high), hex_digit(*low)) {
                (Some(high), Some(low)) => {
                    bytes = rest;
                    high << 4 | low
                }
                _ => b'%',
            },
            _ => byte,
        });
    }
    Cow::Owned(decoded)
}

/// Percent-encodes all but letters, digits and `-._~`, so that the result is safe in a path and in a header too.
#[must_use]
pub fn encode(text: impl AsRef<[u8]>) -> String {
    let mut encoded = String::new();
    for &byte in text.as_ref() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => encoded.push(byte.into()),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// A form with these names and values.
#[must_use]
pub fn of(fields: &[(&str, &str)]) -> String {
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    fields.join("&")
}

fn hex_digit(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let form = of(&[("a b", "c&d=e"), ("\u{e9}", "100%+"), ("", "")]);
        assert_eq!(form, "a%20b=c%26d%3De&%C3%A9=100%25%2B&=");
        for (name, value) in [("a b", Some("c&d=e")), ("\u{e9}", Some("100%+")), ("none", None)] {
            assert_eq!(only(&form, name).as_deref(), value, "{name}");
        }
        assert_eq!(only("a=1&a=1", "a"), None);
        assert_eq!(only("a=1&%61=1", "a"), None);
        assert_eq!(only("a=%ff", "a"), None);
        assert_eq!(only("a=%zz+%4", "a").as_deref(), Some("%zz %4"));
    }
}
