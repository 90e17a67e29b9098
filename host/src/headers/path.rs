//! The one form of a path that the router, the plugins and the upstream see.
//!
//! A rule about a path works only if the component that checks it and the one that acts on it agree. So there is one
//! profile, always on, and it is the strictest in common use (Istio calls it `DECODE_AND_MERGE_SLASHES`). In order:
//!
//! 1. a fragment is dropped (the HTTP parser has done that already);
//! 2. a percent-encoding must be whole and must not be of NUL, else the request is refused;
//! 3. encoded letters, digits and `-._~` are decoded (RFC 3986 §6.2.2.2); `%2F`, `%5C` and a plain backslash become
//!    `/`; every other encoding stays as it was written, so `%25` never makes a second decoding possible;
//! 4. a byte that no URI has (`"<>^` and backtick, `{|}`, anything not ASCII) is percent-encoded;
//! 5. `.` and `..` segments are resolved (RFC 3986 §5.2.4), never above the root;
//! 6. runs of `/` become one.
//!
//! A query is never changed, except for non-ASCII bytes, which are percent-encoded. Rejected: keeping `%2F` (a server
//! that decodes it sees a different path than the rule did), refusing it (clients that encode too much are common), and
//! a choice of profiles (each is one more way to be wrong). `;` and letter case are left alone: they are part of the
//! name.

use super::Reject;

/// The normal form of an origin-form target; `None` if it is normal already, which is the usual case.
pub fn normalise(target: &str) -> Result<Option<String>, Reject> {
    if is_plain(target.as_bytes()) {
        return Ok(None);
    }
    let (path, query) = match target.find('?') {
        Some(at) => target.split_at(at),
        None => (target, ""),
    };
    let decoded = decode(path.as_bytes())?;
    let mut normal = String::with_capacity(target.len() + 16);
    resolve(&decoded, &mut normal);
    for byte in query.bytes() {
        if byte.is_ascii() { normal.push(char::from(byte)) } else { push_encoded(&mut normal, byte) }
    }
    Ok((normal != target).then_some(normal))
}

/// Whether nothing in the target could need a change. May return false unnecessarily, but never true wrongly.
fn is_plain(target: &[u8]) -> bool {
    let mut previous = 0;
    for (at, &byte) in target.iter().enumerate() {
        match CLASS[usize::from(byte)] {
            PLAIN => {}
            AFTER_SLASH if previous != b'/' => {}
            QUERY => return target.get(at..).is_some_and(<[u8]>::is_ascii),
            _ => return false,
        }
        previous = byte;
    }
    true
}

/// Steps 2 to 4. Percent-encodings that remain keep their case.
fn decode(path: &[u8]) -> Result<String, Reject> {
    let mut decoded = String::with_capacity(path.len() + 8);
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            match CLASS[usize::from(byte)] {
                _ if byte == b'\\' => decoded.push('/'),
                ENCODE => push_encoded(&mut decoded, byte),
                _ => decoded.push(char::from(byte)),
            }
            continue;
        }
        let [high, low, tail @ ..] = rest else { return Err(Reject::PathEncoding) };
        let value = match (hex(*high), hex(*low)) {
            (Some(high), Some(low)) => high << 4 | low,
            _ => return Err(Reject::PathEncoding),
        };
        rest = tail;
        match value {
            0 => return Err(Reject::PathEncoding),
            b'/' | b'\\' => decoded.push('/'),
            _ if is_unreserved(value) => decoded.push(char::from(value)),
            _ => decoded.extend(['%', char::from(*high), char::from(*low)]),
        }
    }
    Ok(decoded)
}

/// Steps 5 and 6. As in RFC 3986, `..` can remove an empty segment; empty segments are dropped only afterwards.
fn resolve(path: &str, normal: &mut String) {
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_open = false;
    for segment in path.split('/').skip(1) {
        ends_open = matches!(segment, "" | "." | "..");
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    for segment in segments.into_iter().filter(|segment| !segment.is_empty()) {
        normal.push('/');
        normal.push_str(segment);
    }
    if ends_open || normal.is_empty() {
        normal.push('/');
    }
}

fn push_encoded(text: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    text.extend(['%', digit(byte >> 4), digit(byte)]);
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Needs no change.
const PLAIN: u8 = 0;
/// Needs a closer look after a slash: `.` and `/`.
const AFTER_SLASH: u8 = 1;
/// Ends the path.
const QUERY: u8 = 2;
/// Needs a closer look: `%` and the backslash.
const LOOK: u8 = 3;
/// Not allowed in a URI.
const ENCODE: u8 = 4;

const CLASS: [u8; 256] = {
    let mut class = [ENCODE; 256];
    let mut byte = 0x21_u8;
    while byte < 0x7f {
        class[byte as usize] = match byte {
            b'.' | b'/' => AFTER_SLASH,
            b'?' => QUERY,
            b'%' | b'\\' => LOOK,
            b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' => ENCODE,
            _ => PLAIN,
        };
        byte += 1;
    }
    class
};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(input: &str, expected: &str) {
        let normal = normalise(input).unwrap().unwrap_or_else(|| input.to_owned());
        assert_eq!(normal, expected, "{input}");
        assert_eq!(normalise(&normal), Ok(None), "{input} is normal after one pass");
    }

    #[test]
    fn one_profile() {
        for unchanged in [
            "/",
            "/orders/17",
            "/orders/",
            "/a.b/..c/c..",
            "/...",
            "/..;/admin",
            "/a;v=1/b",
            "/Admin",
            "/a%20b%25%c3%A4%7f",
            "/%252e%252e/a",
            "/a?b=//c/../d%2f%zz\\",
            "/@:!$&'()*+,=~-_",
        ] {
            check(unchanged, unchanged);
            assert_eq!(normalise(unchanged).unwrap(), None, "{unchanged}");
        }
        for (input, expected) in [
            ("/%61dmin", "/admin"),
            ("/%2E%2e/admin", "/admin"),
            ("/public/%2e./admin", "/admin"),
            ("/public/..%2fadmin", "/admin"),
            ("/public\\..\\admin", "/admin"),
            ("/public%5c..%5Cadmin", "/admin"),
            ("//admin", "/admin"),
            ("/%2Fadmin//x/", "/admin/x/"),
            ("/a/./b/.", "/a/b/"),
            ("/a/b/..", "/a/"),
            ("/..", "/"),
            ("/../../..", "/"),
            ("///", "/"),
            ("/a//../b", "/a/b"),
            ("/a/b/../../../c?x=/../", "/c?x=/../"),
            ("/./?q", "/?q"),
            ("/a{1}|\"^`<>", "/a%7B1%7D%7C%22%5E%60%3C%3E"),
            ("/ü?ü", "/%C3%BC?%C3%BC"),
            ("/a?ü", "/a?%C3%BC"),
            ("/%c0%ae%c0%ae/admin", "/%c0%ae%c0%ae/admin"),
        ] {
            check(input, expected);
        }
        for refused in ["/%", "/%2", "/a%zz", "/%%36%36", "/a%00", "/a%0", "/%u002e"] {
            assert_eq!(normalise(refused), Err(Reject::PathEncoding), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn normal_paths_are_normal_and_hide_nothing(path in "/([a-c./\\\\%?;]|%2[ef]|%5c|%2E|ü|\\{){0,24}") {
            let Ok(normal) = normalise(&path) else { return Ok(()) };
            let normal = normal.unwrap_or(path);
            prop_assert_eq!(normalise(&normal), Ok(None));
            let only_path = normal.split('?').next().unwrap();
            prop_assert!(only_path.starts_with('/') && !only_path.contains("//") && !only_path.contains('\\'));
            prop_assert!(only_path.split('/').all(|segment| segment != "." && segment != ".."));
            let lower = only_path.to_ascii_lowercase();
            prop_assert!(!lower.contains("%2e") && !lower.contains("%2f") && !lower.contains("%5c"));
        }
    }
}
