//! Making a connection: the name's addresses, the TCP handshake, and hyper's side of it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::connection::{Http1, Shared, Streams};
use super::progress::Progress;
use super::settings::{Address, Place, Transport};
use super::wire::Wire;

/// A socket to the address. The addresses of a name are tried in turn, each with its share of the time that is left.
/// `None` when the time is over.
pub(super) async fn connect(address: &Address, deadline: Instant) -> Option<io::Result<TcpStream>> {
    let socket = match address.place() {
        Place::Socket(address) => timeout_at(deadline, TcpStream::connect(address)).await.ok()?,
        Place::Name { host, port } => match timeout_at(deadline, lookup_host((&**host, *port))).await.ok()? {
            Ok(addresses) => connect_any(&addresses.collect::<Vec<_>>(), deadline).await?,
            Err(error) => Err(error),
        },
    };
    Some(socket.and_then(|socket| {
        socket.set_nodelay(true)?;
        Ok(socket)
    }))
}

async fn connect_any(addresses: &[SocketAddr], deadline: Instant) -> Option<io::Result<TcpStream>> {
    let mut last = Some(Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / left.max(1);
        left = left.saturating_sub(1);
        last = timeout_at(now + share, TcpStream::connect(address)).await.ok();
        if let Some(Ok(_)) = last {
            break;
        }
    }
    last
}

/// An HTTP/1.1 connection over the socket, which holds the place among the endpoint's connections. Its task ends when
/// the connection does: when the endpoint closes it, when its handle is dropped, when an answer is overdue, or when it
/// becomes a tunnel.
pub(super) async fn http1(
    socket: TcpStream,
    transport: &Transport,
    slot: OwnedSemaphorePermit,
    progress: &Arc<Progress>,
) -> io::Result<Http1> {
    let wire = Wire::new(socket, Arc::clone(progress), transport.max_header_bytes, slot);
    let mut builder = http1::Builder::new();
    builder.max_header_size(transport.max_header_bytes);
    builder.max_buf_size(transport.max_header_bytes.max(BUFFER_BYTES));
    if transport.max_headers > HEADERS_ON_STACK {
        builder.max_headers(transport.max_headers);
    }
    let (sender, connection) = builder.handshake(TokioIo::new(wire)).await.map_err(io::Error::other)?;
    let task = tokio::spawn(async move {
        // Its error has been told to whoever waited for an answer; with nobody waiting, it is of no interest.
        let _ = connection.with_upgrades().await;
    });
    progress.belongs_to(task.abort_handle());
    Ok(Http1::new(sender, Arc::clone(progress)))
}

/// An HTTP/2 connection over the socket. Its task ends when the endpoint closes it or says GOAWAY, or when the pool and
/// the last stream have let go of it.
pub(super) async fn h2c(
    socket: TcpStream,
    transport: &Transport,
    slot: OwnedSemaphorePermit,
    streams: Arc<Streams>,
) -> io::Result<Shared> {
    let header_bytes = u32::try_from(transport.max_header_bytes).unwrap_or(u32::MAX);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
    builder.max_frame_size(FRAME_BYTES).max_header_list_size(header_bytes).max_send_buf_size(BUFFER_BYTES);
    builder.max_concurrent_reset_streams(RESET_STREAMS);
    let (sender, mut connection) = builder.handshake(TokioIo::new(socket)).await.map_err(io::Error::other)?;
    let known = Arc::clone(&streams);
    tokio::spawn(async move {
        let _ = std::future::poll_fn(|context| {
            known.allow(connection.current_max_send_streams());
            std::pin::Pin::new(&mut connection).poll(context)
        })
        .await;
        drop(slot);
    });
    Ok(Shared::new(sender, streams))
}

/// What hyper reads at once, and how much of a request body it takes before the socket has.
const BUFFER_BYTES: usize = 64 * 1024;

/// Up to this many header fields, hyper parses without an allocation.
const HEADERS_ON_STACK: usize = 100;

/// What an endpoint may send on a stream before the client has taken it: the memory that a slow client can hold.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The same for all streams of a connection.
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;

/// The protocol's default (RFC 9113, section 4.2).
const FRAME_BYTES: u32 = 16 * 1024;

/// Streams that we reset and still remember, so that what comes late for them is no error.
const RESET_STREAMS: usize = 64;
