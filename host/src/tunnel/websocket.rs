//! What a WebSocket handshake proves (RFC 6455 §4): that the server has read this very request and means to switch.
//!
//! The gateway checks it as a client would. A server that can be made to answer 101 without having understood the
//! request would else open a tunnel past every policy.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::{HeaderMap, SEC_WEBSOCKET_KEY};

/// The protocol's name in Upgrade and `:protocol`.
pub const PROTOCOL: &str = "websocket";

/// The Sec-WebSocket-Accept that the server has to answer; `None` if the request is not a handshake, because its key is
/// missing, repeated, or not sixteen bytes.
pub fn expected_accept(headers: &HeaderMap) -> Option<String> {
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let key = keys.next().filter(|_| keys.next().is_none())?.as_bytes();
    let is_key = STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == KEY_BYTES);
    is_key.then(|| accept(key))
}

/// A key for a client that sends none: in HTTP/2 the stream itself is the proof (RFC 8441 §5.1).
pub fn key(random: u128) -> HeaderValue {
    HeaderValue::from_str(&STANDARD.encode(random.to_be_bytes())).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn accept(key: &[u8]) -> String {
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat()))
}

/// RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const KEY_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_proper_key_has_an_accept() {
        let expected = |keys: &[&'static str]| {
            let keys = keys.iter().map(|key| (SEC_WEBSOCKET_KEY, HeaderValue::from_static(key)));
            expected_accept(&keys.fold(HeaderMap::new(), |mut headers, (name, key)| {
                headers.append(name, key);
                headers
            }))
        };
        // The example of RFC 6455 §1.3.
        let sample = "dGhlIHNhbXBsZSBub25jZQ==";
        assert_eq!(expected(&[sample]).as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        for wrong in [&[][..], &[""], &["dGhlIHNhbXBsZSBub25j"], &["not base64"], &[sample, sample]] {
            assert_eq!(expected(wrong), None, "{wrong:?}");
        }
        let own = key(7);
        assert!(expected_accept(&HeaderMap::from_iter([(SEC_WEBSOCKET_KEY, own)])).is_some());
    }
}
