//! Makes a connection: the name's addresses, the TCP and TLS handshakes, and that of HTTP/2.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::connection::{Shared, Streams};
use super::error::Reason;
use super::settings::{Address, Place, Protocol, Transport};
use super::socket::Socket;
use super::watched_socket::WatchedSocket;
use crate::proxy_protocol::{self, Header};
use crate::tls::Alpn;

/// Opens a connection that can carry requests of any client; over TLS if the transport has it.
pub(super) async fn open(address: &Address, transport: &Transport, deadline: Instant) -> Result<Socket, Reason> {
    let alpn = match transport.protocol {
        Protocol::Http1 => Alpn::Http1,
        Protocol::Http2 => Alpn::Http2,
    };
    secure(plain(address, transport, Header::Local, deadline).await?, address, transport, Some(alpn), deadline).await
}

/// Opens a connection for the bytes of one client, whatever they are.
pub(super) async fn open_for(
    address: &Address,
    transport: &Transport,
    client: Header,
    deadline: Instant,
) -> Result<Socket, Reason> {
    secure(plain(address, transport, client, deadline).await?, address, transport, None, deadline).await
}

/// Opens a connection without TLS. If the endpoint expects a PROXY header, it has been sent.
pub(super) async fn plain(
    address: &Address,
    transport: &Transport,
    client: Header,
    deadline: Instant,
) -> Result<TcpStream, Reason> {
    let timed_out = Reason::ConnectTimeout(transport.connect_timeout);
    let Some(socket) = connect(address, deadline).await else { return Err(timed_out) };
    let mut socket = socket.map_err(Reason::Connect)?;
    if let Some(version) = transport.proxy_protocol {
        let header = proxy_protocol::write(version, client);
        let Ok(written) = timeout_at(deadline, socket.write_all(&header)).await else { return Err(timed_out) };
        written.map_err(Reason::Connect)?;
    }
    Ok(socket)
}

async fn secure(
    socket: TcpStream,
    address: &Address,
    transport: &Transport,
    alpn: Option<Alpn>,
    deadline: Instant,
) -> Result<Socket, Reason> {
    let Some(tls) = &transport.tls else { return Ok(Socket::Plain(socket)) };
    match timeout_at(deadline, tls.connect(&address.host(), alpn, socket)).await {
        Ok(Ok(stream)) => Ok(Socket::Secure(Box::new(stream))),
        Ok(Err(failed)) => Err(Reason::Handshake(failed)),
        Err(_) => Err(Reason::ConnectTimeout(transport.connect_timeout)),
    }
}

/// Connects a socket to the address. `None` if the deadline has passed.
async fn connect(address: &Address, deadline: Instant) -> Option<io::Result<TcpStream>> {
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

/// Resolves an address to send datagrams to: the first one that the name has.
pub(super) async fn resolve(address: &Address) -> io::Result<SocketAddr> {
    match address.place() {
        Place::Socket(address) => Ok(*address),
        Place::Name { host, port } => {
            let mut addresses = lookup_host((&**host, *port)).await?;
            addresses.next().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
        }
    }
}

/// Connects to one of a name's addresses: "happy eyeballs" (RFC 8305). The next address is tried when the last one has
/// failed or has not answered within [`ATTEMPT_DELAY`]; the first that answers is used.
async fn connect_any(addresses: &[SocketAddr], deadline: Instant) -> Option<io::Result<TcpStream>> {
    let mut left = in_turns(addresses).into_iter();
    // The losing attempts are dropped with the set.
    let mut attempts = JoinSet::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        if let Some(address) = left.next() {
            attempts.spawn(TcpStream::connect(address));
        } else if attempts.is_empty() {
            return Some(Err(last));
        }
        let next = if left.len() > 0 { deadline.min(Instant::now() + ATTEMPT_DELAY) } else { deadline };
        tokio::select! {
            Some(ended) = attempts.join_next() => match ended {
                Ok(Ok(socket)) => return Some(Ok(socket)),
                Ok(Err(error)) => last = error,
                Err(lost) => last = io::Error::other(lost),
            },
            () = sleep_until(next) => if next >= deadline { return None },
        }
    }
}

/// IPv6 and IPv4 addresses alternating, each in the resolver's order, IPv6 first (RFC 8305, section 4).
fn in_turns(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut ipv6 = addresses.iter().filter(|address| address.is_ipv6());
    let mut ipv4 = addresses.iter().filter(|address| address.is_ipv4());
    let pairs = std::iter::from_fn(|| match (ipv6.next(), ipv4.next()) {
        (None, None) => None,
        pair => Some(pair),
    });
    pairs.flat_map(|(ipv6, ipv4)| ipv6.into_iter().chain(ipv4)).copied().take(MOST_ADDRESSES).collect()
}

/// Opens an HTTP/2 connection over the socket. Its task ends when the endpoint closes it or sends GOAWAY, or once
/// neither the pool nor a stream uses it any more.
pub(super) async fn http2(
    socket: Socket,
    transport: &Transport,
    slot: OwnedSemaphorePermit,
    streams: Arc<Streams>,
) -> io::Result<Shared> {
    let header_bytes = u32::try_from(transport.max_header_bytes).unwrap_or(u32::MAX);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let (stream_window, connection_window) = windows(transport.max_streams);
    builder.initial_stream_window_size(stream_window).initial_connection_window_size(connection_window);
    builder.max_frame_size(FRAME_BYTES).max_header_list_size(header_bytes).max_send_buf_size(BUFFER_BYTES);
    builder.max_concurrent_reset_streams(RESET_STREAMS);
    builder.timer(TokioTimer::new()).keep_alive_interval(PING_INTERVAL).keep_alive_timeout(PING_TIMEOUT);
    let socket = TokioIo::new(WatchedSocket { socket, streams: Arc::clone(&streams) });
    let (sender, mut connection) = builder.handshake(socket).await.map_err(io::Error::other)?;
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

/// Flow-control windows: how much an endpoint may send before clients have read it, on one stream and on the whole
/// connection.
///
/// The connection window is the sum of the stream windows: clients that do not read could use up a smaller one and stop
/// all other streams. To bound the memory of a connection, stream windows shrink as more streams are allowed.
fn windows(max_streams: u32) -> (u32, u32) {
    let streams = max_streams.max(1);
    let stream = (UNREAD_BYTES / streams).clamp(FRAME_BYTES, STREAM_WINDOW);
    (stream, stream.saturating_mul(streams).min(WIDEST_WINDOW))
}

/// Delay before the next address of a name is tried as well (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Maximum addresses of a name that are tried.
const MOST_ADDRESSES: usize = 16;

/// How much of a request body hyper buffers ahead of the socket.
const BUFFER_BYTES: usize = 64 * 1024;

/// How much an endpoint may send on a stream before the client reads it: the memory that a slow client can hold.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The same for all streams of a connection, as long as each of them may still send a frame.
const UNREAD_BYTES: u32 = 64 * 1024 * 1024;

/// The largest window that the protocol allows (RFC 9113, section 6.9.1).
const WIDEST_WINDOW: u32 = (1 << 31) - 1;

/// The protocol's default (RFC 9113, section 4.2).
const FRAME_BYTES: u32 = 16 * 1024;

/// A connection with open streams on which nothing has arrived for this long is pinged: a response may be silent for
/// longer, but a dead connection has to be noticed. Unused connections are closed before this. gRPC servers close
/// connections that are pinged more often.
const PING_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// How long the endpoint may take to answer a ping before the connection is closed.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How many streams that we reset are remembered, so that late frames for them are no error.
const RESET_STREAMS: usize = 64;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let parse = |text: &str| text.split(' ').map(|address| address.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let sorted = in_turns(&parse("1.1.1.1:1 2.2.2.2:1 3.3.3.3:1 [::1]:1 [::2]:1"));
        assert_eq!(sorted, parse("[::1]:1 1.1.1.1:1 [::2]:1 2.2.2.2:1 3.3.3.3:1"));
        assert!(in_turns(&[]).is_empty());
    }

    #[test]
    fn the_streams_of_a_connection_have_room_for_all_that_each_may_hold() {
        for (streams, kibibytes) in [(0, 256), (1, 256), (100, 256), (1024, 64), (10_000, 16)] {
            let stream = kibibytes * 1024;
            assert_eq!(windows(streams), (stream, stream * streams.max(1)), "{streams}");
        }
        assert_eq!(windows(u32::MAX), (FRAME_BYTES, WIDEST_WINDOW));
    }

    /// The first address neither accepts nor refuses connections, like a full backlog; the second answers.
    #[tokio::test]
    async fn a_silent_address_holds_nobody_up() {
        let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        silent.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        silent.listen(0).unwrap();
        let silent_address = silent.local_addr().unwrap().as_socket().unwrap();
        let _fills = [std::net::TcpStream::connect(silent_address).unwrap()];
        let answering = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing = {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let addresses = [silent_address, refusing, answering.local_addr().unwrap()];
        let deadline = Instant::now() + Duration::from_secs(10);
        let socket = connect_any(&addresses, deadline).await.unwrap().unwrap();
        assert_eq!(socket.peer_addr().unwrap(), answering.local_addr().unwrap());
        let refused = connect_any(&[refusing, refusing], deadline).await.unwrap().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert!(connect_any(&[silent_address], Instant::now() + Duration::from_millis(20)).await.is_none());
    }
}
