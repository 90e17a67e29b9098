//! One probe: what is sent to an endpoint, and which response passes.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Limited};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::{Address, Ask, Facts, Reason, Upstream, connect};
use crate::body::Body;
use crate::proxy_protocol::Header;

/// How an endpoint is probed.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    Http(HttpProbe),
    Tcp(TcpProbe),
    Grpc(GrpcProbe),
}

/// Sends a request; the response must have one of these statuses, and this text in its body.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpProbe {
    pub method: Method,
    pub path: PathAndQuery,
    /// The `Host`, if it is not the endpoint's address.
    pub host: Option<HeaderValue>,
    pub headers: HeaderMap,
    pub statuses: Vec<RangeInclusive<u16>>,
    pub body: Option<Arc<str>>,
}

/// Opens a connection; sending anything over it is optional.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TcpProbe {
    pub send: Option<Arc<str>>,
    pub expect: Option<Arc<str>>,
}

/// Calls `grpc.health.v1.Health/Check`.
#[derive(Clone, Debug, PartialEq)]
pub struct GrpcProbe {
    pub service: Arc<str>,
    pub host: Option<HeaderValue>,
    pub headers: HeaderMap,
}

impl Probe {
    /// Probes the only endpoint of this upstream. The error is for the operator.
    pub(super) async fn run(&self, upstream: &Upstream, address: &Address) -> Result<(), String> {
        match self {
            Probe::Http(probe) => probe.run(upstream).await,
            Probe::Tcp(probe) => probe.run(upstream, address).await,
            Probe::Grpc(probe) => probe.run(upstream).await,
        }
    }
}

impl HttpProbe {
    async fn run(&self, upstream: &Upstream) -> Result<(), String> {
        let mut request = request(self.method.clone(), &self.path, self.host.as_ref(), &self.headers);
        *request.body_mut() = Body::Empty;
        let response = send(upstream, request).await?;
        let status = response.status();
        if !self.statuses.iter().any(|range| range.contains(&status.as_u16())) {
            return Err(format!("the status is {}", status.as_u16()));
        }
        let Some(text) = &self.body else { return Ok(()) };
        let mut body = response.into_body();
        let mut search = Search::new(text);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| format!("the body broke off: {error}"))?;
            if frame.data_ref().is_some_and(|data| search.feed(data)) {
                return Ok(());
            }
            if search.is_over() {
                break;
            }
        }
        Err(format!("{text:?} is not in the {} bytes of the body", search.read))
    }
}

impl TcpProbe {
    async fn run(&self, upstream: &Upstream, address: &Address) -> Result<(), String> {
        let transport = &upstream.settings().transport;
        let deadline = Instant::now() + transport.connect_timeout;
        let socket = connect::plain(address, transport, Header::Local, deadline).await;
        let mut socket = socket.map_err(|reason| match reason {
            Reason::Connect(error) => format!("no connection: {error}"),
            _ => "no connection in time".to_owned(),
        })?;
        if let Some(text) = &self.send {
            socket.write_all(text.as_bytes()).await.map_err(|error| format!("it does not take the text: {error}"))?;
        }
        let Some(text) = &self.expect else { return Ok(()) };
        let mut search = Search::new(text);
        let mut buffer = [0; 4096];
        while !search.is_over() {
            let count = socket.read(&mut buffer).await.map_err(|error| format!("the connection broke: {error}"))?;
            if count == 0 {
                break;
            }
            if search.feed(buffer.get(..count).unwrap_or_default()) {
                return Ok(());
            }
        }
        Err(format!("{text:?} is not in the {} bytes that came", search.read))
    }
}

impl GrpcProbe {
    async fn run(&self, upstream: &Upstream) -> Result<(), String> {
        let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
        let mut request = request(Method::POST, &path, self.host.as_ref(), &self.headers);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        *request.body_mut() = Body::from(health_check_request(&self.service));
        let (head, body) = send(upstream, request).await?.into_parts();
        if head.status != http::StatusCode::OK {
            return Err(format!("the HTTP status is {}", head.status.as_u16()));
        }
        // A response that is only an error has its status in the head.
        check_grpc_status(&head.headers)?;
        let body = Limited::new(body, GRPC_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| format!("the answer broke off: {error}"))?;
        let trailers = body.trailers().cloned().ok_or("the answer has no trailers")?;
        check_grpc_status(&trailers)?;
        match serving_status(body.to_bytes()) {
            Some(1) => Ok(()),
            Some(0) => Err("UNKNOWN".into()),
            Some(2) => Err("NOT_SERVING".into()),
            Some(3) => Err("SERVICE_UNKNOWN".into()),
            Some(other) => Err(format!("the serving status is {other}")),
            None => Err("the answer is no HealthCheckResponse".into()),
        }
    }
}

async fn send(upstream: &Upstream, request: Request<Body>) -> Result<http::Response<Body>, String> {
    let (ask, mut facts) = (Ask::default(), Facts::default());
    upstream.send(request, &ask, &mut facts).await.map_err(|error| {
        let text = error.to_string();
        // The reader of this text already knows the upstream.
        text.strip_prefix(&format!("upstream \"{}\": ", upstream.name())).map_or(text.clone(), str::to_owned)
    })
}

fn request(method: Method, path: &PathAndQuery, host: Option<&HeaderValue>, headers: &HeaderMap) -> Request<Body> {
    let mut request = Request::new(Body::Empty);
    *request.method_mut() = method;
    *request.uri_mut() = path.clone().into();
    *request.headers_mut() = headers.clone();
    request.headers_mut().entry(USER_AGENT).or_insert(HeaderValue::from_static("gatewright-health"));
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host.clone());
    }
    request
}

/// One gRPC message, uncompressed: `HealthCheckRequest { string service = 1; }`.
fn health_check_request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(FIELD_1_BYTES);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    // The configuration allows 255 bytes.
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put(message);
    frame.freeze()
}

/// The `ServingStatus status = 1` of a `HealthCheckResponse`; 0 if it is left out, as protobuf does for 0.
fn serving_status(mut frame: Bytes) -> Option<u64> {
    let compressed = frame.try_get_u8().ok()?;
    let length = frame.try_get_u32().ok()?;
    if compressed != 0 || length as usize != frame.len() {
        return None;
    }
    let mut status = 0;
    while frame.has_remaining() {
        let tag = get_varint(&mut frame)?;
        match tag & 7 {
            0 if tag >> 3 == 1 => status = get_varint(&mut frame)?,
            0 => drop(get_varint(&mut frame)?),
            1 => skip(&mut frame, 8)?,
            2 => {
                let length = get_varint(&mut frame)?;
                skip(&mut frame, length)?;
            }
            5 => skip(&mut frame, 4)?,
            _ => return None,
        }
    }
    Some(status)
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn get_varint(bytes: &mut Bytes) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = bytes.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn skip(bytes: &mut Bytes, length: u64) -> Option<()> {
    let length = usize::try_from(length).ok().filter(|length| *length <= bytes.remaining())?;
    bytes.advance(length);
    Some(())
}

fn check_grpc_status(headers: &HeaderMap) -> Result<(), String> {
    match headers.get("grpc-status").map(HeaderValue::as_bytes) {
        None | Some(b"0") => Ok(()),
        Some(status) => {
            let message = headers.get("grpc-message").map_or("", |message| message.to_str().unwrap_or_default());
            Err(format!("grpc-status {} {message}", String::from_utf8_lossy(status)).trim_end().to_owned())
        }
    }
}

/// Searches for a text in bytes that arrive in pieces, up to a bound.
struct Search<'a> {
    text: &'a [u8],
    /// The end of the bytes so far, in which the text may begin.
    tail: Vec<u8>,
    read: usize,
}

impl<'a> Search<'a> {
    fn new(text: &'a str) -> Self {
        Search { text: text.as_bytes(), tail: Vec::new(), read: 0 }
    }

    /// Whether the text has been found.
    fn feed(&mut self, piece: &[u8]) -> bool {
        let piece = piece.get(..BODY_BYTES.saturating_sub(self.read)).unwrap_or(piece);
        self.read += piece.len();
        self.tail.extend_from_slice(piece);
        let found = self.tail.windows(self.text.len().max(1)).any(|window| window == self.text);
        let keep = self.text.len().saturating_sub(1);
        self.tail.drain(..self.tail.len().saturating_sub(keep));
        found
    }

    fn is_over(&self) -> bool {
        self.read >= BODY_BYTES
    }
}

/// The form that an operator reads in the reason of a state change.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Probe::Http(probe) => write!(f, "probe {} {}", probe.method, probe.path),
            Probe::Tcp(_) => f.write_str("probe of the connection"),
            Probe::Grpc(probe) if probe.service.is_empty() => f.write_str("gRPC probe"),
            Probe::Grpc(probe) => write!(f, "gRPC probe of {}", probe.service),
        }
    }
}

/// How much of a response is searched.
const BODY_BYTES: usize = 64 << 10;
const GRPC_ANSWER_BYTES: usize = 4 << 10;
/// The tag of field 1, length-delimited.
const FIELD_1_BYTES: u8 = 0x0a;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_wherever_it_is_split() {
        let body = b"all is well here";
        for split in 0..body.len() {
            let mut search = Search::new("well");
            let (first, second) = body.split_at(split);
            assert!(search.feed(first) | search.feed(second), "{split}");
        }
        let mut search = Search::new("well");
        assert!(!search.feed(b"wel") && !search.feed(b"wel"));
        // The search stops at the bound.
        let mut search = Search::new("end");
        assert!(!search.feed(&vec![b'.'; BODY_BYTES - 2]) && !search.is_over());
        assert!(!search.feed(b"end") && search.is_over());
    }

    #[test]
    fn messages_of_grpc_health() {
        assert_eq!(health_check_request(""), &b"\0\0\0\0\0"[..]);
        assert_eq!(health_check_request("a.B"), &b"\0\0\0\0\x05\x0a\x03a.B"[..]);
        let long = health_check_request(&"x".repeat(200));
        assert_eq!(long.get(..8), Some(&b"\0\0\0\0\xcb\x0a\xc8\x01"[..]));
        for (frame, expected) in [
            (&b"\0\0\0\0\x02\x08\x01"[..], Some(1)),
            (b"\0\0\0\0\x00", Some(0)),
            (b"\0\0\0\0\x03\x08\x81\x01", Some(129)),
            // Fields that a later version may add.
            (b"\0\0\0\0\x06\x12\x02hi\x08\x02", Some(2)),
            (b"\0\0\0\0\x07\x25abcd\x08\x01", Some(1)),
            (b"\x01\0\0\0\x02\x08\x01", None),
            (b"\0\0\0\0\x03\x08\x01", None),
            (b"\0\0\0\0\x01\x08", None),
            (b"\0\0\0\0\x02\x12\x09", None),
            (b"\0\0", None),
            (b"", None),
        ] {
            assert_eq!(serving_status(Bytes::copy_from_slice(frame)), expected, "{frame:?}");
        }
    }
}
