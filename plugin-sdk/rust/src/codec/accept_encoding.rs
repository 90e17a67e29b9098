//! `Accept-Encoding` (RFC 9110 section 12.5.3).

use super::Coding;

/// Which codings a client accepts, and which it prefers.
///
/// A client without this field is treated as one that accepts no coding: by the standard it accepts any, but what sends
/// no such field is most often a tool that decompresses nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptEncoding {
    /// Names with weights in thousandths, in the order received.
    listed: Vec<(String, u16)>,
}

impl AcceptEncoding {
    /// Parses every value of the field. What cannot be parsed counts as not accepted.
    #[must_use]
    pub fn parse(values: &[Vec<u8>]) -> Self {
        let values = values.iter().filter_map(|value| std::str::from_utf8(value).ok());
        let members = values.flat_map(|value| value.split(',')).take(MOST_MEMBERS);
        Self { listed: members.filter_map(member).collect() }
    }

    /// How much the client wants this coding, in thousandths; 0 means not at all.
    #[must_use]
    pub fn weight(&self, coding: Coding) -> u16 {
        self.named(|name| Coding::named(name) == Some(coding)).or_else(|| self.named(|name| name == "*")).unwrap_or(0)
    }

    /// The coding of `offered` that the client prefers; of equally preferred ones, the first. `None` if it prefers no
    /// coding.
    #[must_use]
    pub fn best(&self, offered: &[Coding]) -> Option<Coding> {
        let identity = self.named(|name| name == "identity").unwrap_or(0);
        let mut best = None;
        for &coding in offered {
            let weight = self.weight(coding);
            if weight > 0 && weight >= identity && best.is_none_or(|(_, most)| weight > most) {
                best = Some((coding, weight));
            }
        }
        best.map(|(coding, _)| coding)
    }

    fn named(&self, is: impl Fn(&str) -> bool) -> Option<u16> {
        self.listed.iter().find(|(name, _)| is(name)).map(|(_, weight)| *weight)
    }
}

fn member(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(|part| part.trim_matches([' ', '\t']));
    let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
    let weight = match parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="))) {
        None => 1000,
        Some(weight) => thousandths(weight).unwrap_or(0),
    };
    Some((name, weight))
}

/// `0.5` is 500: at most three digits, from 0 to 1 (RFC 9110 section 12.4.2).
fn thousandths(text: &str) -> Option<u16> {
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    let is_short = digits.len() <= 3 && digits.bytes().all(|digit| digit.is_ascii_digit());
    let parts: u16 = format!("{digits:0<3}").parse().ok().filter(|_| is_short)?;
    match (whole, parts) {
        ("0", parts) => Some(parts),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

/// More members than any real client sends.
const MOST_MEMBERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::{Coding::*, *};

    fn parse(value: &str) -> AcceptEncoding {
        AcceptEncoding::parse(&[value.as_bytes().to_vec()])
    }

    #[test]
    fn what_the_client_wants_most() {
        for (value, expected) in [
            ("", None),
            ("identity", None),
            ("gzip", Some(Gzip)),
            ("GZIP", Some(Gzip)),
            ("x-gzip", Some(Gzip)),
            ("gzip, deflate, br, zstd", Some(Zstd)),
            ("gzip, br", Some(Br)),
            ("gzip;q=1.0, br;q=0.9", Some(Gzip)),
            ("gzip;q=0.501,br;q=0.5", Some(Gzip)),
            ("br;q=0, gzip;q=0.1", Some(Gzip)),
            ("br;q=0,gzip;q=0.0,zstd;q=0.000", None),
            ("*", Some(Zstd)),
            ("*;q=0", None),
            ("gzip, *;q=0", Some(Gzip)),
            ("zstd;q=0, *", Some(Br)),
            ("identity;q=1, gzip;q=0.5", None),
            ("identity;q=0.5, gzip;q=0.5", Some(Gzip)),
            ("identity;q=0, gzip;q=0.1", Some(Gzip)),
            ("deflate, compress", None),
            ("gzip;q=2", None),
            ("gzip;q=0.1234", None),
            ("gzip;q=-1", None),
            ("gzip;q=", None),
            ("gzip;q=1.1", None),
            ("gzip ; q=0.3 , br ;q=0.2", Some(Gzip)),
            (",,gzip,", Some(Gzip)),
            ("gzipx", None),
        ] {
            assert_eq!(parse(value).best(&Coding::ALL), expected, "{value:?}");
        }
    }

    #[test]
    fn fields_are_joined_and_what_is_no_text_is_left_out() {
        let fields = [b"br;q=0.5".to_vec(), b"\xff".to_vec(), b"gzip".to_vec()];
        assert_eq!(AcceptEncoding::parse(&fields).best(&Coding::ALL), Some(Gzip));
        assert_eq!(AcceptEncoding::parse(&[]).best(&Coding::ALL), None);
        assert_eq!(parse(&"x,".repeat(100_000)).weight(Gzip), 0);
    }

    #[test]
    fn weights() {
        let accept = parse("gzip;q=0.25, *;q=0.5, br;q=0");
        assert_eq!([Gzip, Br, Zstd].map(|coding| accept.weight(coding)), [250, 0, 500]);
    }
}
