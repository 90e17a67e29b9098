//! What a request gets from an entry.

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue,
    TRANSFER_ENCODING,
};
use http::{Method, StatusCode};

use super::conditions::Conditions;
use super::entry::Entry;

impl Entry {
    /// The status, head and body that answer a request with this method and these conditions.
    pub fn answer(&self, method: &Method, conditions: &Conditions, now_s: u64) -> (StatusCode, HeaderMap, Bytes) {
        let mut headers = self.headers.clone();
        headers.insert(AGE, HeaderValue::from(self.age(now_s)));
        if conditions.is_met(&self.headers) && self.status == StatusCode::OK {
            unchanged(&mut headers);
            return (StatusCode::NOT_MODIFIED, headers, Bytes::new());
        }
        let length = self.body.len() as u64;
        let is_head = method == Method::HEAD;
        let range = conditions.range(&self.headers, length).filter(|_| self.status == StatusCode::OK && !is_head);
        let (status, body) = match range {
            Some(Ok((first, last))) => {
                let told = HeaderValue::try_from(format!("bytes {first}-{last}/{length}"));
                headers.extend(told.ok().map(|told| (CONTENT_RANGE, told)));
                // Both positions are within the body.
                (StatusCode::PARTIAL_CONTENT, self.body.slice(first as usize..=last as usize))
            }
            Some(Err(())) => {
                let told = HeaderValue::try_from(format!("bytes */{length}"));
                headers.extend(told.ok().map(|told| (CONTENT_RANGE, told)));
                headers.remove(CONTENT_TYPE);
                headers.remove(CONTENT_ENCODING);
                (StatusCode::RANGE_NOT_SATISFIABLE, Bytes::new())
            }
            None => (self.status, self.body.clone()),
        };
        headers.remove(TRANSFER_ENCODING);
        if self.status == StatusCode::OK {
            headers.entry(ACCEPT_RANGES).or_insert(HeaderValue::from_static("bytes"));
        }
        if self.status != StatusCode::NO_CONTENT {
            let length = if is_head { length } else { body.len() as u64 };
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        (status, headers, if is_head { Bytes::new() } else { body })
    }
}

/// Turns a head into that of a 304 response, by removing what describes the body.
pub fn unchanged(headers: &mut HeaderMap) {
    for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, CONTENT_RANGE, TRANSFER_ENCODING] {
        headers.remove(name);
    }
}
