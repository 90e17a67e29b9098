//! `limits` and `timeouts`: what one client may use, unless a route overrides it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::units::{Duration, Size};

/// What one client may use. All limits are on; only response bodies have none, because they are streamed and never
/// buffered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Concurrent client connections, over all listeners and cores. Further ones wait in the kernel's accept backlog.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections: u32,

    /// Concurrent requests on one HTTP/2 connection.
    #[schemars(range(min = 1, max = 10_000))]
    pub concurrent_streams: u32,

    /// The longest HTTP/1.1 request line: method, path and query. From "256B" to "63KiB". A longer one is answered with
    /// 414.
    pub request_line: Size,

    /// The number of header fields in one request or response. A request with more is answered with 431.
    #[schemars(range(min = 1, max = 1000))]
    pub header_count: u32,

    /// The size of all header fields of one request or response, names and values together. From "8KiB" to "1MiB". A
    /// request with more is answered with 431.
    pub header_bytes: Size,

    /// The largest request body. A larger one is answered with 413, without reading it if its length is declared. A
    /// route may override it.
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

/// How long the gateway waits for clients.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// From connecting to the end of the TLS handshake.
    pub handshake: Duration,

    /// From the first byte of a request to the end of its header fields, and from connecting to the first byte.
    pub header_read: Duration,

    /// How long a connection may have no request in flight before it is closed.
    pub idle: Duration,

    /// How long no byte of a request body may arrive. A route may override it.
    pub body: Duration,

    /// How long the client may take no byte of a response before its connection is reset, or in HTTP/2 its stream, up
    /// to half as long later.
    pub send: Duration,

    /// How long no byte may pass in either direction through a tunnel, such as a WebSocket, before it is closed.
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
