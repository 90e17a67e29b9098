//! Preconditions and ranges of a request (RFC 9110 §13 and §14), removed from its head: the upstream is asked for the
//! whole response, and the cache applies them.

use http::header::{
    DATE, ETAG, HeaderMap, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    LAST_MODIFIED, RANGE,
};

use super::entry::weak;
use super::policy::{date, parse_date};

/// The conditions of a request.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    none_match: Vec<HeaderValue>,
    modified_since: Option<u64>,
    range: Option<HeaderValue>,
    if_range: Option<HeaderValue>,
}

impl Conditions {
    /// Whether only the upstream can decide: the request requires a certain state of the resource.
    pub fn are_for_upstream(headers: &HeaderMap) -> bool {
        headers.contains_key(IF_MATCH) || headers.contains_key(IF_UNMODIFIED_SINCE)
    }

    pub fn of(headers: &HeaderMap) -> Conditions {
        let modified_since = headers.get(IF_MODIFIED_SINCE).and_then(|value| parse_date(value.to_str().ok()?));
        Conditions {
            none_match: headers.get_all(IF_NONE_MATCH).iter().cloned().collect(),
            modified_since,
            range: headers.get(RANGE).cloned(),
            if_range: headers.get(IF_RANGE).cloned(),
        }
    }

    /// Removes them from a request whose response may be stored.
    pub fn strip(headers: &mut HeaderMap) {
        for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE, IF_RANGE] {
            headers.remove(name);
        }
    }

    pub fn has_range(&self) -> bool {
        self.range.is_some()
    }

    /// Whether the client already has this response (RFC 9110 §13.2.2).
    pub fn is_met(&self, response: &HeaderMap) -> bool {
        if !self.none_match.is_empty() {
            let own = response.get(ETAG).map(HeaderValue::as_bytes);
            return self.none_match.iter().flat_map(|value| tags(value.as_bytes())).any(|tag| match tag {
                b"*" => true,
                tag => own.is_some_and(|own| weak(own) == weak(tag)),
            });
        }
        // Without Last-Modified, a response dated no later is not newer (RFC 9111 §4.3.2).
        self.modified_since.is_some_and(|since| {
            let modified = date(response, &LAST_MODIFIED).or_else(|| date(response, &DATE));
            modified.is_some_and(|modified| modified <= since)
        })
    }

    /// The bytes that are requested from a body of this length. `Err` if the range contains none.
    pub fn range(&self, response: &HeaderMap, length: u64) -> Option<Result<(u64, u64), ()>> {
        let range = self.range.as_ref().filter(|_| self.is_same(response))?;
        let (unit, set) = range.to_str().ok()?.split_once('=')?;
        // Several ranges are answered with the whole body (RFC 9110 §14.2 allows that).
        if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
            return None;
        }
        let (first, last) = set.trim().split_once('-')?;
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true if !text.is_empty() => Some(text.parse().unwrap_or(u64::MAX)),
            _ => None,
        };
        if first.is_empty() {
            let suffix: u64 = number(last)?;
            return Some(match suffix.min(length) {
                0 => Err(()),
                suffix => Ok((length - suffix, length - 1)),
            });
        }
        let first = number(first)?;
        let last = if last.is_empty() { u64::MAX } else { number(last)? };
        if last < first {
            return None;
        }
        Some(if first < length { Ok((first, last.min(length - 1))) } else { Err(()) })
    }

    /// Whether a range is requested from the same response of which the client has a part (RFC 9110 §13.1.5).
    fn is_same(&self, response: &HeaderMap) -> bool {
        let Some(validator) = &self.if_range else { return true };
        let validator = validator.as_bytes();
        match validator.starts_with(b"\"") || validator.starts_with(b"W/") {
            // Strong comparison.
            true => !validator.starts_with(b"W/") && response.get(ETAG).is_some_and(|own| own.as_bytes() == validator),
            false => response.get(LAST_MODIFIED).is_some_and(|own| own.as_bytes() == validator),
        }
    }
}

/// The entity tags of a list; commas may occur inside their quotes.
fn tags(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    list.split(move |byte| {
        is_quoted ^= *byte == b'"';
        *byte == b',' && !is_quoted
    })
    .map(<[u8]>::trim_ascii)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn what_the_client_has_already() {
        let response = headers(&[("etag", "\"a,b\""), ("last-modified", "Tue, 01 Jan 2030 00:00:00 GMT")]);
        for (field, value, is_met) in [
            ("if-none-match", "\"a,b\"", true),
            ("if-none-match", "W/\"a,b\"", true),
            ("if-none-match", "\"x\", \"a,b\"", true),
            ("if-none-match", "*", true),
            ("if-none-match", "\"a\"", false),
            ("if-modified-since", "Tue, 01 Jan 2030 00:00:00 GMT", true),
            ("if-modified-since", "Mon, 31 Dec 2029 23:59:59 GMT", false),
            ("if-modified-since", "yesterday", false),
        ] {
            assert_eq!(Conditions::of(&headers(&[(field, value)])).is_met(&response), is_met, "{field}: {value}");
        }
        // If there is an entity tag, it alone decides.
        let both = headers(&[("if-none-match", "\"x\""), ("if-modified-since", "Tue, 01 Jan 2030 00:00:00 GMT")]);
        assert!(!Conditions::of(&both).is_met(&response));
    }

    #[test]
    fn ranges() {
        let response = headers(&[("etag", "\"a\""), ("last-modified", "Tue, 01 Jan 2030 00:00:00 GMT")]);
        for (range, expected) in [
            ("bytes=0-0", Some(Ok((0, 0)))),
            ("bytes=2-", Some(Ok((2, 9)))),
            ("bytes=2-99", Some(Ok((2, 9)))),
            ("bytes=-3", Some(Ok((7, 9)))),
            ("bytes=-99", Some(Ok((0, 9)))),
            ("bytes=-0", Some(Err(()))),
            ("bytes=10-", Some(Err(()))),
            ("bytes=5-2", None),
            ("bytes=0-1,4-5", None),
            ("bytes=a-b", None),
            ("bytes=", None),
            ("lines=1-2", None),
        ] {
            assert_eq!(Conditions::of(&headers(&[("range", range)])).range(&response, 10), expected, "{range}");
        }
        for (validator, holds) in [
            ("\"a\"", true),
            ("\"b\"", false),
            ("W/\"a\"", false),
            ("Tue, 01 Jan 2030 00:00:00 GMT", true),
            ("Wed, 02 Jan 2030 00:00:00 GMT", false),
        ] {
            let asked = Conditions::of(&headers(&[("range", "bytes=0-1"), ("if-range", validator)]));
            assert_eq!(asked.range(&response, 10).is_some(), holds, "{validator}");
        }
    }
}
