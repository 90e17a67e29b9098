//! Where connections come from: sockets bound for every worker, and the loop that accepts.
//!
//! Each worker has its own socket for each address (`SO_REUSEPORT`), so the kernel spreads connections and no core
//! hands one to another. Binding is all or nothing: a failed [`bind`] closes what it opened, and whatever served before
//! keeps serving.
//!
//! When the gateway stops, a worker accepts what is already waiting in its accept queue, because the kernel would reset
//! those clients, and then closes the socket; the connections themselves end in their own time.

pub mod idle;
pub mod proxied;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::drain::Drain;

/// A listening socket that is not yet part of a runtime; [`accept`] adds it to the one that it is called on.
#[derive(Debug)]
pub struct Bound {
    socket: Socket,
    address: SocketAddr,
}

impl Bound {
    /// The address of the socket, with the actual port if 0 was requested.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket itself, for datagrams.
    pub fn into_udp(self) -> std::net::UdpSocket {
        self.socket.into()
    }
}

/// How sockets are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Maximum connections that wait to be accepted, per socket. Default 4096; the kernel caps it (`somaxconn`).
    pub backlog: i32,
    /// Whether it is an error if another process listens on the address, even if that one would share it. Default true,
    /// so that a gateway started twice is noticed; false lets a new process take over from one that drains.
    pub exclusive: bool,
    /// The kind of socket. Default TCP.
    pub transport: Transport,
}

/// What arrives at a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Connections.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

impl Default for Options {
    fn default() -> Self {
        Options { backlog: 4096, exclusive: true, transport: Transport::Tcp }
    }
}

/// The address that could not be listened on, and why.
#[derive(Debug)]
pub struct BindError {
    pub address: SocketAddr,
    pub source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.address, self.source)?;
        match self.source.kind() {
            io::ErrorKind::AddrInUse => f.write_str(" (is another server, or this gateway, running already?)"),
            io::ErrorKind::PermissionDenied => f.write_str(" (ports below 1024 need CAP_NET_BIND_SERVICE)"),
            io::ErrorKind::AddrNotAvailable => f.write_str(" (no interface of this machine has that address)"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Opens a socket per worker and address: one list per worker, in the order of `addresses`. On an error, nothing is
/// left open.
pub fn bind(addresses: &[SocketAddr], workers: usize, options: Options) -> Result<Vec<Vec<Bound>>, BindError> {
    let mut by_worker: Vec<Vec<Bound>> = (0..workers).map(|_| Vec::with_capacity(addresses.len())).collect();
    for &address in addresses {
        let failed = |source| BindError { address, source };
        if options.exclusive && address.port() != 0 {
            // A socket that shares with nobody can be bound only if the address is free. It is closed at once.
            open(address, options.transport, false).map_err(failed)?;
        }
        let mut address = address;
        for worker in &mut by_worker {
            let socket = open(address, options.transport, true).map_err(failed)?;
            if options.transport == Transport::Tcp {
                socket.listen(options.backlog).map_err(failed)?;
            }
            // The first worker's socket determines the port; the others share it.
            let local = socket.local_addr().map_err(failed)?;
            address = local.as_socket().unwrap_or(address);
            worker.push(Bound { socket, address });
        }
    }
    Ok(by_worker)
}

fn open(address: SocketAddr, transport: Transport, shared: bool) -> io::Result<Socket> {
    let (kind, protocol) = match transport {
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    // Connections of an earlier gateway may linger in TIME_WAIT. For datagrams, this option would allow sharing.
    socket.set_reuse_address(transport == Transport::Tcp)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        // IPv4 has a socket of its own: a common one would show IPv4 clients with mapped addresses, and could not be
        // bound beside the other.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A connection's permit among the connections of its core; `None` for one that was accepted during the drain when no
/// permit was free.
pub type Place = Option<OwnedSemaphorePermit>;

/// Accepts connections until the drain is asked for, and spawns the future that `serve` returns for each. `serve` gets
/// the stream, the peer's address, the address that the peer connected to, and the connection's permit, which it holds
/// for the connection's lifetime.
///
/// `places` limits the connections of a worker, over all its sockets: while no permit is free, clients wait in the
/// accept queue, except one per socket that is already accepted. `on_error` gets errors that do not concern a single
/// client; the loop then pauses, up to a second, because the usual reason (no file descriptors left) goes away only
/// when connections end.
pub async fn accept<S, F>(bound: Bound, places: Arc<Semaphore>, drain: Drain, on_error: impl Fn(&io::Error), serve: S)
where
    S: Fn(TcpStream, SocketAddr, SocketAddr, Place) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let Bound { socket, address } = bound;
    let listener = match TcpListener::from_std(socket.into()) {
        Ok(listener) => listener,
        Err(error) => return on_error(&error),
    };
    let start = |stream: TcpStream, peer: SocketAddr, place: Place| {
        // Responses are written whole; waiting to fill a segment would only delay them.
        let _ = stream.set_nodelay(true);
        let local = stream.local_addr().unwrap_or(address);
        tokio::spawn(serve(stream, peer, local, place));
    };

    let asked = drain.asked();
    tokio::pin!(asked);
    let mut pause = PAUSE_MIN;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut asked => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = PAUSE_MIN;
                // Only now: an unused socket must not keep a permit from the others.
                let place = tokio::select! {
                    biased;
                    // The semaphore is never closed: it lives as long as this loop.
                    place = Arc::clone(&places).acquire_owned() => place.ok(),
                    () = &mut asked => {
                        start(stream, peer, None);
                        break;
                    }
                };
                start(stream, peer, place);
            }
            Err(error) if is_about_one_client(&error) => {}
            Err(error) => {
                on_error(&error);
                tokio::select! {
                    () = &mut asked => break,
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
                }
            }
        }
    }

    // The runtime's readiness may be older than the queue, so the socket itself is asked.
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((stream, peer)) = listener.accept() {
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = stream {
            start(stream, peer, Arc::clone(&places).try_acquire_owned().ok());
        }
    }
}

/// Errors of a connection that ended before it was accepted (accept(2), "Error handling").
fn is_about_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
