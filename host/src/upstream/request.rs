//! A request as an endpoint gets it: its target and authority in the protocol's form, its framing decided here.
//!
//! Framing follows from the body alone. What a client or a plugin wrote about length and transfer coding is made to
//! agree with it, so that no header can make the endpoint see a different end of the request than we do.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use http_body::{Body as _, Frame, SizeHint};

use super::error::Reason;
use super::progress::Progress;
use super::protocol_switch;
use super::settings::{Address, Protocol, Transport};
use crate::body::Body;

/// Converts the request to the form of the endpoint's protocol.
pub(super) fn prepare(request: &mut Request<Body>, transport: &Transport, address: &Address) -> Result<(), Reason> {
    if request.method() == Method::CONNECT {
        return Err(Reason::Tunnel);
    }
    frame(request, transport.protocol);
    match transport.protocol {
        Protocol::Http1 => {
            protocol_switch::ask(request);
            origin_form(request, address)
        }
        Protocol::Http2 => {
            let scheme = if transport.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
            absolute_form(request, scheme, address)
        }
    }
}

/// `GET /path` with a `Host` field (RFC 9112, section 3.2.1). The authority of the URI takes precedence over a `Host`
/// field (section 3.2.2).
fn origin_form(request: &mut Request<Body>, address: &Address) -> Result<(), Reason> {
    *request.version_mut() = Version::HTTP_11;
    if let Some(authority) = request.uri().authority() {
        let host = HeaderValue::from_str(without_userinfo(authority)).map_err(|_| Reason::Authority)?;
        let target = request.uri().path_and_query().cloned();
        request.headers_mut().insert(HOST, host);
        *request.uri_mut() = target.unwrap_or_else(|| PathAndQuery::from_static("/")).into();
    } else if !request.headers().contains_key(HOST) {
        let host = HeaderValue::from_str(address.as_str()).map_err(|_| Reason::Authority)?;
        request.headers_mut().insert(HOST, host);
    }
    Ok(())
}

/// `:scheme`, `:authority` and `:path` (RFC 9113, section 8.3.1), from an absolute URI; `Host` becomes the authority.
fn absolute_form(request: &mut Request<Body>, scheme: Scheme, address: &Address) -> Result<(), Reason> {
    *request.version_mut() = Version::HTTP_2;
    let host = request.headers_mut().remove(HOST);
    let authority = match (request.uri().authority(), host) {
        (Some(authority), _) => without_userinfo(authority).parse::<Authority>(),
        (None, Some(host)) => Authority::from_maybe_shared(Bytes::copy_from_slice(host.as_bytes())),
        (None, None) => address.as_str().parse(),
    };
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority.map_err(|_| Reason::Authority)?);
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Reason::Authority)?;
    Ok(())
}

fn without_userinfo(authority: &Authority) -> &str {
    authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host)
}

/// Makes the framing fields match the body.
fn frame(request: &mut Request<Body>, protocol: Protocol) {
    let length = request.body().size_hint().exact();
    let announces_body = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    let headers = request.headers_mut();
    headers.remove(TRANSFER_ENCODING);
    match (length, headers.get(CONTENT_LENGTH)) {
        (Some(0), None) if !announces_body => {}
        (Some(length), Some(value)) if is_length(value, length) && single(headers) => {}
        (Some(0), Some(_)) if !announces_body => {
            headers.remove(CONTENT_LENGTH);
        }
        // Also for an empty POST: some servers answer 411 without it (RFC 9110, section 8.6).
        (Some(length), _) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        // An announced length that cannot be verified yet: more is never sent, and less ends the connection.
        (None, Some(value)) if parse_length(value).is_some() && single(headers) => {}
        (None, _) => {
            headers.remove(CONTENT_LENGTH);
            // HTTP/1 needs this field, HTTP/2 does not.
            if protocol == Protocol::Http1 {
                headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
        }
    }
}

fn single(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_LENGTH).iter().nth(1).is_none()
}

fn is_length(value: &HeaderValue, length: u64) -> bool {
    parse_length(value) == Some(length)
}

/// `Content-Length = 1*DIGIT` (RFC 9110, section 8.6): no sign, no list.
pub(super) fn parse_length(value: &HeaderValue) -> Option<u64> {
    let digits = value.as_bytes();
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |length, byte| match byte {
        b'0'..=b'9' => length.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// A request body on its way to an endpoint over HTTP/2. While streaming, it reports whose turn it is, and stores why
/// it failed.
pub(super) struct Outgoing {
    body: Body,
    progress: Option<Arc<Progress>>,
}

impl Outgoing {
    pub(super) fn new(body: Body, progress: &Arc<Progress>) -> Self {
        let streams = matches!(body, Body::Incoming(_) | Body::Boxed(_));
        Outgoing { body, progress: streams.then(|| Arc::clone(progress)) }
    }

    /// The same body for another attempt, if all of it is in memory.
    pub(super) fn copy(&self) -> Option<Body> {
        match &self.body {
            Body::Full(bytes) => Some(Body::Full(bytes.clone())),
            body => body.is_end_stream().then_some(Body::Empty),
        }
    }

    pub(super) fn into_body(self) -> Body {
        self.body
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyFailed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFailed>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let Some(progress) = &self.progress else {
            return polled.map_err(|_| BodyFailed);
        };
        if polled.is_pending() {
            progress.clients_turn();
        }
        let frame = ready!(polled);
        progress.endpoints_turn();
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|error| {
                progress.fail(error);
                BodyFailed
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The error that hyper gets when a request body fails; the reason itself is in the [`Progress`].
#[derive(Debug)]
pub(super) struct BodyFailed;

impl std::fmt::Display for BodyFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the request body failed")
    }
}

impl std::error::Error for BodyFailed {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::body::BodyError;

    fn check(protocol: Protocol, request: Request<Body>) -> String {
        let mut request = request;
        let address = "10.0.0.3:80".parse().unwrap();
        match prepare(&mut request, &Transport { protocol, ..Transport::default() }, &address) {
            Err(reason) => format!("{reason:?}"),
            Ok(()) => {
                let mut fields: Vec<_> = request
                    .headers()
                    .iter()
                    .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
                    .collect();
                fields.sort();
                format!("{} {} {}", request.method(), request.uri(), fields.join(" "))
            }
        }
    }

    fn streaming() -> Body {
        Body::boxed(Unsized(Body::Empty))
    }

    /// A body that does not tell its length.
    struct Unsized(Body);
    impl http_body::Body for Unsized {
        type Data = Bytes;
        type Error = BodyError;
        fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Pin::new(&mut self.0).poll_frame(cx)
        }
    }

    #[test]
    fn targets() {
        let get = |uri: &str| Request::builder().uri(uri);
        for (request, http1, h2c) in [
            (get("/a?b=c").header("host", "x"), "GET /a?b=c host=x", "GET http://x/a?b=c "),
            (get("/"), "GET / host=10.0.0.3:80", "GET http://10.0.0.3:80/ "),
            (get("http://u:p@y:1/a").header("host", "x"), "GET /a host=y:1", "GET http://y:1/a "),
            (get("http://y?q"), "GET /?q host=y", "GET http://y/?q "),
            (get("*").method("OPTIONS").header("host", "x"), "OPTIONS * host=x", "OPTIONS http://x* "),
            (get("x:1").method("CONNECT"), "Tunnel", "Tunnel"),
            (get("/").header("host", "a b"), "GET / host=a b", "Authority"),
        ] {
            let request = request.body(()).unwrap();
            let with_body = || request.clone().map(|()| Body::Empty);
            assert_eq!(check(Protocol::Http1, with_body()), http1);
            assert_eq!(check(Protocol::Http2, with_body()), h2c);
        }
    }

    #[test]
    fn framing_follows_the_body() {
        let full = || Body::from(Bytes::from_static(b"four"));
        for (method, field, body, expected) in [
            ("GET", None, Body::Empty, ""),
            ("GET", Some(("content-length", "0")), Body::Empty, "content-length=0 "),
            ("GET", Some(("content-length", "5")), Body::Empty, ""),
            ("POST", Some(("content-length", "5")), Body::Empty, "content-length=0 "),
            ("POST", None, Body::Empty, "content-length=0 "),
            ("POST", Some(("transfer-encoding", "chunked")), Body::Empty, "content-length=0 "),
            ("POST", Some(("content-length", "4")), full(), "content-length=4 "),
            ("POST", Some(("content-length", "+4")), full(), "content-length=4 "),
            ("POST", Some(("content-length", "9")), full(), "content-length=4 "),
            ("GET", Some(("transfer-encoding", "gzip")), full(), "content-length=4 "),
            ("GET", None, streaming(), "transfer-encoding=chunked"),
            ("DELETE", Some(("content-length", "4, 4")), streaming(), "transfer-encoding=chunked"),
            ("POST", Some(("content-length", "4")), streaming(), "content-length=4 "),
        ] {
            let mut request = Request::builder().method(method).uri("/").header("host", "x");
            if let Some((name, value)) = field {
                request = request.header(name, value);
            }
            let shown = check(Protocol::Http1, request.body(body).unwrap());
            let (before, after) = match expected.starts_with('c') {
                true => (expected, ""),
                false => ("", expected),
            };
            let expected = format!("{method} / {before}host=x {after}");
            assert_eq!(shown, expected.trim_end(), "{method} {field:?}");
        }
    }
}
