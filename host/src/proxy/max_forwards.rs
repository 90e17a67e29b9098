//! `Max-Forwards`: how often a TRACE or an OPTIONS may still be forwarded (RFC 9110, section 7.6.2).

use http::header::{HeaderMap, HeaderValue, MAX_FORWARDS};
use http::{Method, StatusCode};

use super::error::Error;
use crate::exchange::{RequestHead, ResponseHead};

/// Takes one off what is left. Returns the answer if nothing is: then the gateway is the one that was asked. What it
/// says of itself with OPTIONS is that it is there; it does not reflect requests, so it refuses TRACE.
pub(super) fn spend(request: &mut RequestHead) -> Result<Option<ResponseHead>, Error> {
    if !matches!(request.method, Method::OPTIONS | Method::TRACE) {
        return Ok(None);
    }
    let Some(left) = left(&request.headers) else { return Ok(None) };
    match left.checked_sub(1) {
        Some(left) => {
            request.headers.insert(MAX_FORWARDS, HeaderValue::from(left));
            Ok(None)
        }
        None if request.method == Method::TRACE => Err(Error::NoTrace),
        None => Ok(Some(ResponseHead { status: Some(StatusCode::NO_CONTENT), headers: HeaderMap::new() })),
    }
}

/// `None` if there is no limit, or none that is a number.
fn left(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(MAX_FORWARDS).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let digits = value.to_str().ok().filter(|text| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit()))?;
    // A larger number than fits is replaced by the largest one that does, as the RFC allows.
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::uri::{PathAndQuery, Scheme};

    use super::*;

    /// What becomes of a request with these limits: the limits that are passed on, or the status of the answer.
    fn outcome(method: &Method, limits: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for limit in limits {
            headers.append(MAX_FORWARDS, HeaderValue::from_str(limit).unwrap());
        }
        let target = PathAndQuery::from_static("/");
        let mut request = RequestHead { method: method.clone(), scheme: Scheme::HTTP, target, headers };
        match spend(&mut request) {
            Ok(None) => {
                let left = request.headers.get_all(MAX_FORWARDS).iter().map(|limit| limit.to_str().unwrap());
                format!("on: {}", left.collect::<Vec<_>>().join(" "))
            }
            Ok(Some(answer)) => answer.status.unwrap().as_u16().to_string(),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn trace_and_options_go_as_far_as_they_may() {
        for (limits, expected, last) in [
            (&["5"][..], "on: 4", None),
            (&["1"], "on: 0", None),
            (&["007"], "on: 6", None),
            (&["0"], "", Some(("204", "NoTrace"))),
            (&["00"], "", Some(("204", "NoTrace"))),
            (&["99999999999999999999999"], "on: 18446744073709551614", None),
            (&[], "on: ", None),
            (&[""], "on: ", None),
            (&["-1"], "on: -1", None),
            (&["+1"], "on: +1", None),
            (&["many"], "on: many", None),
            (&["1", "0"], "on: 1 0", None),
        ] {
            let (options, trace) = last.unwrap_or((expected, expected));
            assert_eq!(outcome(&Method::OPTIONS, limits), options, "{limits:?}");
            assert_eq!(outcome(&Method::TRACE, limits), trace, "{limits:?}");
            assert_eq!(outcome(&Method::GET, limits), format!("on: {}", limits.join(" ")), "{limits:?}");
        }
    }
}
