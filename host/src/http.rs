//! From a byte stream to exchanges: HTTP/1.0, HTTP/1.1 and HTTP/2 with clients.
//!
//! [`serve`] owns one accepted connection until it ends. It reads the first bytes itself, because they tell HTTP/2
//! (prior knowledge, RFC 9113 §3.3), which is implemented by hyper, from HTTP/1, which is implemented here:
//!
//! * [`framing`] parses the bytes: nothing that is ambiguous about message boundaries passes. The error response is
//!   sent after the preceding exchanges are done.
//! * Deadlines are kept per connection, not per request: there is one timer, which is reset only if it would fire too
//!   late. A keep-alive request costs one clock read and no timer operation.
//! * A request body that nobody reads to its end is read here, up to a bound, or the connection closes: its bytes are
//!   never taken for a request.
//!
//! A panic in a handler ends its connection (HTTP/1) or its stream (HTTP/2), because each is a separate task; so
//! callers of [`serve`] spawn it.

mod batch;
pub mod framing;
mod http1;
mod http2;
mod patience;
mod request_body;
mod response_body;
mod rest;
mod rewind;
mod send_stall;
mod state;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Scheme;
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use crate::body::Body;
use crate::drain::Drain;
use crate::headers::{Client, Reject};
use crate::tls::{self, Alpn};

pub use rest::Resting;

/// An accepted connection.
#[derive(Debug)]
pub struct Connection {
    /// The peer's address.
    pub peer: SocketAddr,
    /// The address that the peer connected to.
    pub local: SocketAddr,
    /// The listener's name.
    pub listener: Arc<str>,
    /// The peer as presented to upstreams.
    pub client: Client,
    pub scheme: Scheme,
    /// Result of the TLS handshake; `None` without TLS.
    pub tls: Option<Arc<tls::Peer>>,
}

impl Connection {
    pub fn new(peer: SocketAddr, local: SocketAddr, listener: Arc<str>, scheme: &Scheme) -> Self {
        let client = Client::new(peer, local, scheme);
        Connection { peer, local, listener, client, scheme: scheme.clone(), tls: None }
    }

    /// The same connection over TLS.
    pub fn secured(self, peer: Arc<tls::Peer>) -> Self {
        let client = Client::new(self.peer, self.local, &Scheme::HTTPS);
        Connection { client, scheme: Scheme::HTTPS, tls: Some(peer), ..self }
    }

    /// Whether the peer speaks HTTP/2, given its first bytes. Over TLS, that was negotiated in the handshake.
    fn speaks_http2(&self, first: &[u8], settings: &Settings) -> bool {
        match &self.tls {
            Some(tls) => tls.protocol == Alpn::Http2,
            None => settings.http2.prior_knowledge && first.starts_with(PREFACE),
        }
    }
}

/// Called for messages that are refused by their bytes alone.
pub type OnReject = Arc<dyn Fn(&Connection, Reject) + Send + Sync>;

/// The limits of a connection. The defaults are meant for a gateway that faces the open internet.
#[derive(Clone)]
pub struct Settings {
    /// Bytes of a request head, for HTTP/2 of its decoded header list; also of trailers. Default 32 KiB; more is
    /// answered with 431. Values below 8 KiB count as 8 KiB.
    pub head_bytes_limit: usize,
    /// Bytes of an HTTP/1 request line. Default 16 KiB; more is answered with 414. Capped at 65,000.
    pub request_line_bytes_limit: usize,
    /// Fields of a request head. Default 100; more is answered with 431.
    pub fields_limit: usize,
    /// From the start of the connection, or the first byte of a later head, to the end of the head. Default 10 s; then
    /// 408.
    pub head_timeout: Duration,
    /// How long a connection may have no request. Default 75 s; then it is closed.
    pub idle_timeout: Duration,
    /// How long a request body that is being read may deliver no byte. Default 30 s; then the body ends with
    /// [`TimedOut`](crate::body::BodyError::TimedOut).
    pub body_idle_timeout: Duration,
    /// How long a client may read no byte of a response. Default 60 s; then the connection is reset. In HTTP/2 only the
    /// stream is, up to half as long later: pings detect clients that are gone, but not those that do not read.
    pub write_timeout: Duration,
    /// How much of an unwanted request body is read in order to keep the connection (in HTTP/2 the stream). Default 64
    /// KiB; more closes it.
    pub unread_bytes_limit: u64,
    /// How long to wait for such a rest. Default 2 s.
    pub unread_timeout: Duration,
    /// How long a connection that is closed while the client's bytes are unread waits for the client to close, so that
    /// the client can read the response (RFC 9112 §9.6). Default 2 s.
    pub linger_timeout: Duration,
    /// Whether HTTP/1 is allowed. Default true; otherwise HTTP/1 clients are answered with 505.
    pub http1: bool,
    /// Settings of HTTP/2 only.
    pub http2: Http2,
    /// Called for each message that is refused by its bytes alone. Such a message is no request, so it has no record in
    /// the access log.
    pub on_reject: Option<OnReject>,
}

/// The limits of an HTTP/2 connection.
#[derive(Clone, Debug)]
pub struct Http2 {
    /// Whether clients may begin with the HTTP/2 preface without TLS. Default true.
    pub prior_knowledge: bool,
    /// Concurrent requests. Default 100 (RFC 9113 §6.5.2 advises no less).
    pub streams_limit: u32,
    /// Bytes of a request body in flight. Default 64 KiB.
    pub stream_window_bytes: u32,
    /// Bytes of all request bodies in flight. Default 1 MiB.
    pub connection_window_bytes: u32,
    /// Bytes of a frame. Default 16 KiB.
    pub frame_bytes_limit: u32,
    /// Bytes of the HPACK table. Default 4 KiB.
    pub header_table_bytes: u32,
    /// Streams that the client reset before they were handled. Default 20; more ends the connection (the "rapid reset"
    /// attack, CVE-2023-44487).
    pub pending_resets_limit: usize,
    /// Streams that this side had to reset because of the client's errors. Default 100; more ends the connection
    /// (CVE-2025-8671).
    pub local_resets_limit: usize,
    /// Bytes of a response that wait for the client's window, per stream. Default 64 KiB.
    pub send_buffer_bytes: usize,
    /// How often the client is pinged. Default 20 s.
    pub ping_interval: Duration,
    /// How long the answer to a ping may take. Default 20 s; then the connection is closed.
    pub ping_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            head_bytes_limit: 32 << 10,
            request_line_bytes_limit: 16 << 10,
            fields_limit: 100,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_idle_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            unread_bytes_limit: 64 << 10,
            unread_timeout: Duration::from_secs(2),
            linger_timeout: Duration::from_secs(2),
            http1: true,
            http2: Http2::default(),
            on_reject: None,
        }
    }
}

impl Default for Http2 {
    fn default() -> Self {
        Http2 {
            prior_knowledge: true,
            streams_limit: 100,
            stream_window_bytes: 64 << 10,
            connection_window_bytes: 1 << 20,
            frame_bytes_limit: 16 << 10,
            header_table_bytes: 4 << 10,
            pending_resets_limit: 20,
            local_resets_limit: 100,
            send_buffer_bytes: 64 << 10,
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(20),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("http2", &self.http2).finish_non_exhaustive()
    }
}

/// In a response's extensions, aborts the request instead of answering: in HTTP/1 the connection is closed without a
/// byte, in HTTP/2 the stream is reset.
#[derive(Clone, Copy, Debug)]
pub struct Abort;

/// The stage of a connection.
pub enum Stage<IO> {
    /// Nothing has been read yet.
    New(IO),
    /// It has rested, and these are the first bytes of its next request.
    Awake(IO, Vec<u8>),
}

/// Serves a connection until it ends, including the times when it rests.
pub async fn serve<IO, H, F>(io: IO, connection: Arc<Connection>, settings: Arc<Settings>, handler: H, drain: Drain)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Arc<Connection>, Request<Body>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut stage = Stage::New(io);
    // Boxed, so that a resting connection holds none of it.
    while let Some(resting) = Box::pin(attend(stage, &connection, &settings, &handler, &drain)).await {
        let Some(awake) = resting.wake(&settings, &drain).await else { return };
        stage = awake;
    }
}

/// Serves a connection until it ends (`None`), or until it may rest, which an HTTP/1 connection may after a second
/// without a request. `drain` is held as long; once it is asked for, the connection finishes its requests and closes
/// (`connection: close`, or GOAWAY); once it is over, they are cut.
///
/// `handler` is called once per request, with a body that has this room's limits, and returns the response. If its
/// future is dropped, the client has gone.
pub async fn attend<IO, H, F>(
    stage: Stage<IO>,
    connection: &Arc<Connection>,
    settings: &Arc<Settings>,
    handler: &H,
    drain: &Drain,
) -> Option<Resting<IO>>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Arc<Connection>, Request<Body>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (io, first) = match stage {
        Stage::Awake(io, first) => (io, first),
        Stage::New(mut io) => {
            let first = sniff(&mut io, settings, drain).await?;
            if connection.speaks_http2(&first, settings) {
                let io = rewind::Rewind::new(io, first);
                http2::serve(io, connection.clone(), settings.clone(), handler.clone(), drain.clone()).await;
                return None;
            }
            (io, first)
        }
    };
    http1::serve(io, first, connection, settings, handler, drain).await
}

/// Reads the first bytes: enough to know the protocol, or all that arrive in time.
async fn sniff<IO: AsyncRead + Unpin>(io: &mut IO, settings: &Settings, drain: &Drain) -> Option<Vec<u8>> {
    let mut first = Vec::with_capacity(FIRST_READ_BYTES);
    // A client that has sent nothing by the time the gateway drains has little to lose.
    let patience = if drain.is_asked() { settings.head_timeout.min(DRAIN_PATIENCE) } else { settings.head_timeout };
    let sniffed = async {
        loop {
            match io.read_buf(&mut first).await {
                Ok(1..) if could_be_http2(&first) && first.len() < PREFACE.len() => {}
                Ok(1..) => return true,
                _ => return !first.is_empty(),
            }
        }
    };
    let sniffed = tokio::select! {
        biased;
        sniffed = tokio::time::timeout(patience, sniffed) => sniffed.unwrap_or(false),
        () = gives_up(drain) => false,
    };
    sniffed.then_some(first)
}

fn could_be_http2(first: &[u8]) -> bool {
    PREFACE.starts_with(first) || first.starts_with(PREFACE)
}

/// A connection that has sent nothing when the drain begins gets a moment: its first request may be on the way.
async fn gives_up(drain: &Drain) {
    drain.asked().await;
    tokio::time::sleep(DRAIN_PATIENCE).await;
}

/// The first bytes of HTTP/2 (RFC 9113 §3.4). No HTTP/1 request looks like them.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One read of this size is enough for nearly every first head.
const FIRST_READ_BYTES: usize = 4 << 10;

/// How long a draining gateway waits for the first byte of a connection.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
