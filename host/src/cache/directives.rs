//! `Cache-Control` (RFC 9111 §5.2), of a request or of a response.

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, PRAGMA};

/// The directives of `Cache-Control`. An invalid number counts as 0: it must not make a response live longer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    pub no_store: bool,
    pub no_cache: bool,
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub only_if_cached: bool,
    /// In seconds, like the following.
    pub max_age: Option<u64>,
    pub s_maxage: Option<u64>,
    pub min_fresh: Option<u64>,
    /// Unlimited if the directive has no number.
    pub max_stale: Option<u64>,
    pub stale_while_revalidate: Option<u64>,
    pub stale_if_error: Option<u64>,
    /// The fields that `no-cache` and `private` name: only those must not be stored.
    pub fields: Vec<HeaderName>,
}

impl Directives {
    /// The directives of a response.
    pub fn of_response(headers: &HeaderMap) -> Directives {
        Directives::read(headers)
    }

    /// The directives of a request. Without `Cache-Control`, `Pragma: no-cache` means the same (RFC 9111 §5.4).
    pub fn of_request(headers: &HeaderMap) -> Directives {
        let mut directives = Directives::read(headers);
        if !headers.contains_key(CACHE_CONTROL) {
            let mut pragma = headers.get_all(PRAGMA).iter().filter_map(|value| value.to_str().ok());
            directives.no_cache =
                pragma.any(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case("no-cache")));
        }
        directives
    }

    fn read(headers: &HeaderMap) -> Directives {
        let mut directives = Directives::default();
        for value in headers.get_all(CACHE_CONTROL) {
            let mut rest = value.as_bytes();
            while let Some(directive) = next(rest) {
                directives.take(directive.name, directive.argument.as_deref());
                rest = directive.rest;
            }
        }
        directives
    }

    fn take(&mut self, name: &[u8], argument: Option<&[u8]>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        // Of two different values, the smaller counts.
        let least = |place: &mut Option<u64>| {
            let seconds = argument.map_or(0, seconds);
            *place = Some(place.map_or(seconds, |known| known.min(seconds)));
        };
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") || is("private") {
            let fields = argument.map(fields).unwrap_or_default();
            match fields.is_empty() {
                true if is("private") => self.private = true,
                true => self.no_cache = true,
                false => self.fields.extend(fields),
            }
        } else if is("public") {
            self.public = true;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        } else if is("max-age") {
            least(&mut self.max_age);
        } else if is("s-maxage") {
            least(&mut self.s_maxage);
        } else if is("min-fresh") {
            least(&mut self.min_fresh);
        } else if is("max-stale") {
            self.max_stale = Some(argument.map_or(u64::MAX, seconds));
        } else if is("stale-while-revalidate") {
            least(&mut self.stale_while_revalidate);
        } else if is("stale-if-error") {
            least(&mut self.stale_if_error);
        }
    }
}

/// One directive of a list.
struct Directive<'a> {
    name: &'a [u8],
    /// Without the quotes.
    argument: Option<Vec<u8>>,
    /// What follows it.
    rest: &'a [u8],
}

/// The first directive of a list.
fn next(list: &[u8]) -> Option<Directive<'_>> {
    let begin = list.iter().position(|byte| !matches!(byte, b',' | b' ' | b'\t'))?;
    let list = &list[begin..];
    let end = list.iter().position(|byte| matches!(byte, b',' | b'=')).unwrap_or(list.len());
    let (name, rest) = list.split_at(end);
    let name = name.trim_ascii_end();
    let Some(rest) = rest.strip_prefix(b"=") else { return Some(Directive { name, argument: None, rest }) };
    let Some(quoted) = rest.trim_ascii_start().strip_prefix(b"\"") else {
        let end = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
        let (argument, rest) = rest.split_at(end);
        return Some(Directive { name, argument: Some(argument.trim_ascii().to_vec()), rest });
    };
    let mut argument = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => {
                let rest = &quoted[at + 1..];
                let end = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
                return Some(Directive { name, argument: Some(argument), rest: &rest[end..] });
            }
            b'\\' => argument.extend(bytes.next().map(|(_, byte)| *byte)),
            byte => argument.push(*byte),
        }
    }
    // An unterminated quote swallows the rest of the list.
    Some(Directive { name, argument: Some(argument), rest: &[] })
}

/// Delta-seconds (RFC 9111 §1.2.2).
pub(super) fn seconds(text: &[u8]) -> u64 {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    let digits = std::str::from_utf8(text).unwrap_or_default();
    digits.parse().unwrap_or(LONGEST_SECONDS).min(LONGEST_SECONDS)
}

fn fields(list: &[u8]) -> Vec<HeaderName> {
    list.split(|byte| *byte == b',').filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}

/// 68 years; anything longer is capped to this.
pub(super) const LONGEST_SECONDS: u64 = 1 << 31;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Directives {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CACHE_CONTROL, value.parse().unwrap());
        }
        Directives::of_response(&headers)
    }

    #[test]
    fn numbers() {
        for (text, max_age) in [
            ("max-age=60", Some(60)),
            ("MAX-AGE=60", Some(60)),
            (" , max-age=\"60\" ,x", Some(60)),
            ("max-age=007", Some(7)),
            ("max-age=60,max-age=5", Some(5)),
            ("max-age=99999999999999999999", Some(LONGEST_SECONDS)),
            ("max-age=-1", Some(0)),
            ("max-age=1.5", Some(0)),
            ("max-age='60'", Some(0)),
            ("max-age", Some(0)),
            ("max-age=", Some(0)),
            ("x-max-age=60", None),
            ("foo=\"max-age=60\"", None),
            ("foo=\"a\\\", max-age=60\", public", None),
            ("foo=\"max-age=60", None),
        ] {
            assert_eq!(of(&[text]).max_age, max_age, "{text}");
        }
        assert_eq!(of(&["max-stale"]).max_stale, Some(u64::MAX));
        assert_eq!(of(&["a=b", "s-maxage=5, stale-if-error=7"]).s_maxage, Some(5));
    }

    #[test]
    fn words_and_fields() {
        let all = of(&["No-Store,no-cache, private ,public,must-revalidate,proxy-revalidate,must-understand"]);
        assert!(all.no_store && all.no_cache && all.private && all.public && all.must_revalidate);
        assert!(all.proxy_revalidate && all.must_understand && !all.only_if_cached);
        let some = of(&["no-cache=\"set-cookie, X-A\", private=\"x-b\""]);
        assert!(!some.no_cache && !some.private);
        assert_eq!(some.fields, ["set-cookie", "x-a", "x-b"]);
    }

    #[test]
    fn pragma_counts_only_alone() {
        let mut headers = HeaderMap::new();
        headers.insert(PRAGMA, "foo, No-Cache".parse().unwrap());
        assert!(Directives::of_request(&headers).no_cache);
        headers.insert(CACHE_CONTROL, "max-age=5".parse().unwrap());
        assert!(!Directives::of_request(&headers).no_cache);
    }
}
