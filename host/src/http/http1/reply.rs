//! The head of a response, and how its body is framed (RFC 9112, sections 6 and 9).

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{self, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body::Body as _;

use crate::body::Body;
use crate::headers::{Reject, is_decimal};
use crate::outgoing::{COPIED_BYTES, Framing, write_field};

/// What a response depends on in its request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub is_head: bool,
    pub is_http_10: bool,
    pub takes_trailers: bool,
}

impl Asked {
    pub(super) fn new(method: &Method, is_http_10: bool, takes_trailers: bool) -> Self {
        Asked { is_head: method == Method::HEAD, is_http_10, takes_trailers }
    }
}

/// How a response is sent.
pub(super) struct Reply {
    pub head: Vec<u8>,
    pub framing: Framing,
    /// The connection closes after it.
    pub is_last: bool,
}

/// `is_last`: the connection closes after the response, whatever the response says.
pub(super) fn reply(response: &Response<Body>, asked: Asked, is_last: bool) -> Reply {
    let (status, fields) = (response.status(), response.headers());
    let (framing, length) = frame(response, asked);
    let mut is_last = is_last || framing == Framing::UntilClosed;
    let mut has_date = false;
    let short_body = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0).min(COPIED_BYTES);
    let mut head = Vec::with_capacity(HEAD_BYTES + FIELD_BYTES * fields.len() + short_body);
    head.extend_from_slice(if asked.is_http_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    head.extend_from_slice(status.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    head.extend_from_slice(b"\r\n");
    for (name, value) in fields {
        match *name {
            // Both are written below, with their actual values.
            header::CONTENT_LENGTH | header::TRANSFER_ENCODING => continue,
            header::CONNECTION => {
                is_last |= value
                    .as_bytes()
                    .split(|&byte| byte == b',')
                    .any(|it| it.trim_ascii().eq_ignore_ascii_case(b"close"));
                continue;
            }
            header::DATE => has_date = true,
            _ => {}
        }
        write_field(name.as_str().as_bytes(), value.as_bytes(), &mut head);
    }
    if let Some(length) = length {
        write_field(b"content-length", itoa::Buffer::new().format(length).as_bytes(), &mut head);
    } else if matches!(framing, Framing::Chunked { .. }) {
        write_field(b"transfer-encoding", b"chunked", &mut head);
    }
    if is_last {
        write_field(b"connection", b"close", &mut head);
    } else if asked.is_http_10 {
        write_field(b"connection", b"keep-alive", &mut head);
    }
    if !has_date {
        write_date(&mut head);
    }
    head.extend_from_slice(b"\r\n");
    Reply { head, framing, is_last }
}

/// The head of a 101 response (RFC 9110, section 7.8).
pub(super) fn switching(response: &Response<Body>, protocol: &HeaderValue) -> Vec<u8> {
    let mut head = b"HTTP/1.1 101 Switching Protocols\r\n".to_vec();
    for (name, value) in response.headers() {
        if *name != header::CONNECTION && *name != header::UPGRADE {
            write_field(name.as_str().as_bytes(), value.as_bytes(), &mut head);
        }
    }
    write_field(b"connection", b"upgrade", &mut head);
    write_field(b"upgrade", protocol.as_bytes(), &mut head);
    head.extend_from_slice(b"\r\n");
    head
}

/// How the body is framed, and the length that is announced.
fn frame(response: &Response<Body>, asked: Asked) -> (Framing, Option<u64>) {
    let body = response.body();
    let announced = || {
        let length = response.headers().get(header::CONTENT_LENGTH)?;
        length.to_str().ok().filter(|length| is_decimal(length.as_bytes()))?.parse().ok()
    };
    if matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return (Framing::Nothing, None);
    }
    if asked.is_head {
        return (Framing::Nothing, announced());
    }
    if body.is_end_stream() {
        return (Framing::Nothing, Some(0));
    }
    match body.size_hint().exact().or_else(announced) {
        Some(length) => (Framing::Length(length), Some(length)),
        None if asked.is_http_10 => (Framing::UntilClosed, None),
        None => (Framing::Chunked { trailers: asked.takes_trailers }, None),
    }
}

/// The complete response to a refused request.
pub(super) fn refusal(reject: Reject) -> Vec<u8> {
    let status = reject.status();
    let problem = reject.problem();
    let mut bytes = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        problem.len(),
    )
    .into_bytes();
    write_date(&mut bytes);
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(problem.as_bytes());
    bytes
}

/// Writes `date` (RFC 9110, section 6.6.1); the text is formatted once per second.
fn write_date(out: &mut Vec<u8>) {
    thread_local! {
        static LAST: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    LAST.with_borrow_mut(|last| {
        if last.0 != second {
            *last = (second, httpdate::fmt_http_date(now));
        }
        write_field(b"date", last.1.as_bytes(), out);
    });
}

/// Estimated size: a head is rarely longer than this, or than this many bytes per field.
const HEAD_BYTES: usize = 256;
const FIELD_BYTES: usize = 48;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use http_body::Frame;

    use crate::body::BodyError;

    const NEW: Asked = Asked { is_head: false, is_http_10: false, takes_trailers: false };
    const HEAD: Asked = Asked { is_head: true, ..NEW };
    const OLD: Asked = Asked { is_http_10: true, ..NEW };

    type Fields = &'static [(&'static str, &'static str)];
    /// A response, what it depends on in its request, whether it is the last, and the expected result.
    type Case = (u16, Fields, fn() -> Body, Asked, bool, &'static str, Framing);

    /// A body of unknown length.
    struct Stream;

    impl http_body::Body for Stream {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Pending
        }
    }

    fn stream() -> Body {
        Body::boxed(Stream)
    }

    fn full() -> Body {
        Body::from(Bytes::from_static(b"abc"))
    }

    #[test]
    fn heads_say_how_their_body_ends() {
        let cases: &[Case] = &[
            (200, &[], full, NEW, false, "HTTP/1.1 200 OK|content-length: 3", Framing::Length(3)),
            (
                200,
                &[("a", "b"), ("a", "c")],
                full,
                NEW,
                false,
                "HTTP/1.1 200 OK|a: b|a: c|content-length: 3",
                Framing::Length(3),
            ),
            // The actual length of the body takes precedence over what a field says.
            (
                200,
                &[("content-length", "9")],
                full,
                NEW,
                false,
                "HTTP/1.1 200 OK|content-length: 3",
                Framing::Length(3),
            ),
            (
                200,
                &[("content-length", "9")],
                stream,
                NEW,
                false,
                "HTTP/1.1 200 OK|content-length: 9",
                Framing::Length(9),
            ),
            (
                200,
                &[("content-length", "+9")],
                stream,
                NEW,
                false,
                "HTTP/1.1 200 OK|transfer-encoding: chunked",
                CHUNKED,
            ),
            (
                200,
                &[("transfer-encoding", "x")],
                stream,
                NEW,
                false,
                "HTTP/1.1 200 OK|transfer-encoding: chunked",
                CHUNKED,
            ),
            (200, &[], Body::default, NEW, false, "HTTP/1.1 200 OK|content-length: 0", Framing::Nothing),
            (200, &[], full, HEAD, false, "HTTP/1.1 200 OK", Framing::Nothing),
            (
                200,
                &[("content-length", "9")],
                Body::default,
                HEAD,
                false,
                "HTTP/1.1 200 OK|content-length: 9",
                Framing::Nothing,
            ),
            (204, &[("content-length", "9")], full, NEW, false, "HTTP/1.1 204 No Content", Framing::Nothing),
            (304, &[("content-length", "9")], Body::default, NEW, false, "HTTP/1.1 304 Not Modified", Framing::Nothing),
            (299, &[], Body::default, NEW, true, "HTTP/1.1 299 |content-length: 0|connection: close", Framing::Nothing),
            (
                200,
                &[],
                full,
                OLD,
                false,
                "HTTP/1.0 200 OK|content-length: 3|connection: keep-alive",
                Framing::Length(3),
            ),
            (200, &[], stream, OLD, false, "HTTP/1.0 200 OK|connection: close", Framing::UntilClosed),
            (
                200,
                &[("connection", "x, Close")],
                full,
                NEW,
                false,
                "HTTP/1.1 200 OK|content-length: 3|connection: close",
                Framing::Length(3),
            ),
        ];
        for (status, fields, body, asked, is_last, expected, framing) in cases {
            let mut response = Response::builder().status(*status);
            for (name, value) in *fields {
                response = response.header(*name, *value);
            }
            let reply = reply(&response.body(body()).unwrap(), *asked, *is_last);
            let head = String::from_utf8(reply.head).unwrap();
            let (head, date) = head.split_once("date: ").unwrap();
            assert_eq!(head.trim_end().replace("\r\n", "|"), *expected);
            assert!(date.ends_with(" GMT\r\n\r\n"), "{date:?}");
            assert_eq!((reply.framing, reply.is_last), (*framing, expected.contains("close")), "{expected}");
        }
    }

    const CHUNKED: Framing = Framing::Chunked { trailers: false };

    #[test]
    fn a_date_that_is_there_stays() {
        let response = Response::builder().header("date", "then").body(Body::Empty).unwrap();
        let head = String::from_utf8(reply(&response, NEW, false).head).unwrap();
        assert_eq!(head, "HTTP/1.1 200 OK\r\ndate: then\r\ncontent-length: 0\r\n\r\n");
    }
}
