//! The admin API: what an operator asks of a running gateway, on a listener of its own.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /` | the list of these |
//! | `GET /livez` | 200 while the process answers at all |
//! | `GET /readyz` | 200 while it takes traffic, 503 while it starts or drains |
//! | `GET /metrics` | Prometheus' text format |
//! | `GET /config` | gateway.json as written (`${VAR}` stays `${VAR}`), with its digest as `ETag` |
//! | `PUT /config` | a new gateway.json; needs `If-Match` |
//! | `GET /plugins` | the running plugins |
//! | `GET /upstreams` | every upstream with its endpoints: their health, why, since when, and their traffic |
//! | `PUT /plugins/NAME` | a new component for a plugin that the configuration names |
//! | `DELETE /cache?url=URL`, `?tag=TAG` | purges cached responses; without either, all of them |
//!
//! Every refusal is `application/problem+json` (RFC 9457) and changes nothing.
//!
//! Anyone who can reach this listener controls the gateway. So it listens on loopback by default, and on any other
//! address only with a token. A browser on the same machine must not be tricked into using it either: on loopback the
//! `Host` has to be a loopback name (DNS rebinding), a foreign `Origin` is refused, and no response carries a CORS
//! header.
//!
//! The room knows nothing of the gateway but [`Control`]. It runs on the runtime that calls [`Admin::serve`], which is
//! never a data core's.

mod body;
mod endpoint;
mod guard;
mod if_match;
mod problem;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub use if_match::IfMatch;

use crate::telemetry::{Level, log};

/// What the API can ask of the gateway. Futures are run to completion, even if the client disconnects.
pub trait Control: Send + Sync + 'static {
    /// Who may use the API; asked for each request.
    fn access(&self) -> Access;

    /// Whether the gateway takes traffic.
    fn ready(&self) -> bool;

    /// The page of `GET /metrics`; called where blocking is allowed.
    fn metrics(&self) -> String;

    /// The running configuration, as it was written.
    fn config(&self) -> ConfigText;

    /// Checks a new configuration and runs it. The comparison with `if_match` and the change are atomic: of two callers
    /// that have seen the same digest, one gets [`Refused::Stale`].
    fn apply_config(&self, text: String, if_match: IfMatch) -> Answer<'_, Result<Applied, Refused>>;

    /// A JSON value that lists the plugins.
    fn plugins(&self) -> serde_json::Value;

    /// A JSON value that lists the upstreams with their endpoints.
    fn upstreams(&self) -> serde_json::Value;

    /// Removes cached responses, and returns how many; called where blocking is allowed.
    fn purge(&self, what: Purge) -> u64;

    /// Compiles a component off the request path, tries it, and replaces the running one.
    fn put_plugin<'a>(&'a self, name: &'a str, component: Bytes) -> Answer<'a, Result<Applied, Refused>>;
}

/// Who may use the API.
#[derive(Clone)]
pub enum Access {
    /// Nobody: the configuration no longer has an admin API.
    Closed,
    /// Anybody who can connect; only for a loopback address.
    Open,
    /// Clients that send this as `Authorization: Bearer`. `/livez` and `/readyz` never require it: probes cannot keep
    /// secrets, and those two reveal none.
    Token(Arc<str>),
}

/// Which cached responses to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    All,
    /// Those of a URL.
    Url(String),
    /// Those to which their server gave this tag.
    Tag(String),
}

/// The result of an async function of [`Control`].
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// gateway.json as written.
#[derive(Clone, Debug)]
pub struct ConfigText {
    pub text: Arc<str>,
    /// In hexadecimal, without quotes.
    pub digest: String,
}

/// A change that was made.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// The digest of the running configuration, in hexadecimal.
    pub digest: String,
    /// More members for the response: what was reloaded, warnings.
    pub details: serde_json::Map<String, serde_json::Value>,
}

/// Why a change was not made. No part of it is in force.
#[derive(Clone, Debug)]
pub enum Refused {
    /// The digest is not the one in `If-Match`.
    Stale {
        /// The digest of the running configuration.
        current: String,
    },
    /// The configuration names no such plugin.
    Unknown(String),
    /// The configuration or the component is not valid.
    Invalid {
        /// One sentence.
        detail: String,
        errors: Vec<Diagnostic>,
        /// All errors in the format of the command line, without colours.
        text: String,
    },
    /// The gateway cannot do it now: it is starting or draining.
    Unavailable(String),
}

/// One mistake in a configuration.
#[derive(Clone, Debug, Default)]
pub struct Diagnostic {
    pub file: String,
    /// From 1; 0 if the mistake has no place in the text.
    pub line: u32,
    pub column: u32,
    pub message: String,
    pub help: Option<String>,
    /// JSON pointer (RFC 6901) to the value.
    pub pointer: String,
}

/// The operator's settings. `Default` has the documented defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Default 127.0.0.1:9901.
    pub address: SocketAddr,
    /// The longest gateway.json; default 16 MiB.
    pub config_limit_bytes: usize,
    /// The largest component; default 64 MiB.
    pub plugin_limit_bytes: usize,
    /// Time limit for a whole request body; default 60 s.
    pub body_time: Duration,
    /// Time limit for a request head, and between two requests of a connection; default 10 s.
    pub header_time: Duration,
    /// Connections at once; default 64. Further ones wait to be accepted.
    pub connections: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901),
            config_limit_bytes: 16 << 20,
            plugin_limit_bytes: 64 << 20,
            body_time: Duration::from_secs(60),
            header_time: Duration::from_secs(10),
            connections: 64,
        }
    }
}

/// The API, bound to its address but not yet serving.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    settings: Settings,
}

/// Why the API cannot start.
#[derive(Debug)]
pub enum StartError {
    Bind {
        address: SocketAddr,
        error: io::Error,
    },
    /// Anybody who can reach the address could change the gateway.
    TokenRequired(SocketAddr),
    EmptyToken,
}

impl Admin {
    /// Binds the address, unless this access would open it to everybody. Connections wait until [`Admin::serve`].
    pub fn bind(settings: Settings, access: &Access) -> Result<Self, StartError> {
        match access {
            Access::Token(token) if token.trim().is_empty() => return Err(StartError::EmptyToken),
            Access::Open if !guard::is_loopback(settings.address.ip()) => {
                return Err(StartError::TokenRequired(settings.address));
            }
            _ => {}
        }
        match listen(settings.address) {
            Ok(listener) => Ok(Admin { listener, settings }),
            Err(error) => Err(StartError::Bind { address: settings.address, error }),
        }
    }

    /// The address, with the port chosen by the system if the settings say 0.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `drain` is ready, then lets running requests finish, for at most [`DRAIN_TIME`].
    pub async fn serve(self, control: Arc<dyn Control>, drain: impl Future<Output = ()>) -> io::Result<()> {
        let Admin { listener, settings } = self;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let slots = Arc::new(Semaphore::new(settings.connections.clamp(1, Semaphore::MAX_PERMITS)));
        let api = Arc::new(endpoint::Api { settings, control });
        let (stop, stopped) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut drain = pin!(drain);
        loop {
            let next = async {
                // The semaphore is never closed.
                let slot = Arc::clone(&slots).acquire_owned().await.map_err(io::Error::other)?;
                let (stream, _) = listener.accept().await?;
                Ok::<_, io::Error>((stream, slot))
            };
            let accepted = tokio::select! {
                accepted = next => accepted,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                () = &mut drain => break,
            };
            match accepted {
                Ok((stream, slot)) => {
                    let (api, stopped) = (Arc::clone(&api), stopped.clone());
                    connections.spawn(async move {
                        connection(api, stream, stopped).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    log(Level::Warn, "the admin listener cannot accept", &[("error", &error)]);
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        drop(stop);
        let _ = timeout(DRAIN_TIME, async { while connections.join_next().await.is_some() {} }).await;
        Ok(())
    }
}

/// Opens the socket. `[::]` accepts IPv4 as well, whatever the system's default is.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a previous gateway may linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// One connection, until the client closes it, until it is [`CONNECTION_TIME`] old, or until the API stops.
async fn connection(api: Arc<endpoint::Api>, stream: TcpStream, mut stopped: watch::Receiver<()>) {
    let header_time = api.settings.header_time;
    let service = service_fn(move |request| {
        let api = Arc::clone(&api);
        async move { Ok::<_, Infallible>(api.respond(request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(header_time).max_buf_size(MAX_HEAD_BYTES);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // A client that breaks off does not concern the operator.
        _ = &mut connection => return,
        _ = stopped.changed() => {}
        () = sleep(CONNECTION_TIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(DRAIN_TIME, connection).await;
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Bind { address, error } => write!(f, "the admin API cannot listen on {address}: {error}"),
            StartError::TokenRequired(address) => write!(
                f,
                "the admin API would be open to everybody who reaches {address}: set a token, or listen on 127.0.0.1"
            ),
            StartError::EmptyToken => f.write_str("the token of the admin API is empty"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Bind { error, .. } => Some(error),
            StartError::TokenRequired(_) | StartError::EmptyToken => None,
        }
    }
}

/// For requests still running when the API stops, or when their connection is [`CONNECTION_TIME`] old.
pub const DRAIN_TIME: Duration = Duration::from_secs(10);

/// No connection keeps its slot for longer, not even one whose client never reads the response.
pub const CONNECTION_TIME: Duration = Duration::from_secs(600);

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Limit for a request head, and for the buffered part of a body. hyper's minimum is 8 KiB.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// The wait after a failed accept, which mostly means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
