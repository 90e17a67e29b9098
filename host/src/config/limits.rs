//! `limits` and `timeouts`: what one client may use, unless a route says otherwise.

use schemars::JsonSchema;
use serde::Deserialize;

use super::units::{Duration, Size};

/// What a client may use. Every limit is on; a response body alone has none, because it is streamed and never held.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections of clients at the same time, over all listeners and cores. More wait in the backlog of the kernel.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections: u32,

    /// Requests at the same time on one HTTP/2 connection.
    #[schemars(range(min = 1, max = 10_000))]
    pub concurrent_streams: u32,

    /// The longest request line of HTTP/1.1: method, path and query. From "256B" to "63KiB". A longer one is answered
    /// with 414.
    pub request_line: Size,

    /// Header fields of one request or response. A request with more is answered with 431.
    #[schemars(range(min = 1, max = 1000))]
    pub header_count: u32,

    /// The head of one request or response: all header fields together, names and values. From "8KiB" to "1MiB". A
    /// request with more is answered with 431.
    pub header_bytes: Size,

    /// The longest request body. A longer one is answered with 413, before it is read where its length is announced. A
    /// route may say otherwise.
    pub request_body: Size,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 16_384,
            concurrent_streams: 100,
            request_line: Size::kibibytes(16),
            header_count: 100,
            header_bytes: Size::kibibytes(64),
            request_body: Size::mebibytes(10),
        }
    }
}

/// How long the gateway waits for a client.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// From connecting to the end of the TLS handshake.
    pub handshake: Duration,

    /// From the first byte of a request to the end of its header fields, and from connecting to the first byte.
    pub header_read: Duration,

    /// A connection on which no request is under way is closed after so long.
    pub idle: Duration,

    /// How long no byte of a request body may come. A route may say otherwise.
    pub body: Duration,

    /// How long the client may take no byte of a response before its connection is reset; in HTTP/2 its stream, up to half
    /// as long later.
    pub send: Duration,

    /// How long no byte may go through a tunnel (a WebSocket, say), in either direction, before it is closed.
    pub tunnel: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            handshake: Duration::seconds(10),
            header_read: Duration::seconds(10),
            idle: Duration::seconds(60),
            body: Duration::seconds(30),
            send: Duration::seconds(60),
            tunnel: Duration::seconds(300),
        }
    }
}
