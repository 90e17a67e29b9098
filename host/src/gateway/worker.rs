//! A data core: one thread, one runtime, its own sockets. What it serves never leaves it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use http::uri::Scheme;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};

use super::Shared;
use super::plaintext::Plaintext;
use crate::drain::Drain;
use crate::http::{self as downstream, Connection, Stage};
use crate::l4::{self, Ends};
use crate::listener::idle::IdleConnections;
use crate::listener::proxied::{self, Refusal};
use crate::listener::{self, Bound};
use crate::proxy;
use crate::snapshot::{Layer, Listener, Rules, Snapshot};
use crate::telemetry::metrics::{Dropped, ListenerMetrics, RequestLimit};
use crate::telemetry::server_metrics::Handshake;
use crate::telemetry::{self, Level};
use crate::tls;

/// A running data core. Dropping it closes the channel for new listeners; [`Worker::stop`] ends it.
pub(super) struct Worker {
    listeners: mpsc::UnboundedSender<Opening>,
    thread: Option<JoinHandle<()>>,
}

/// A bound socket on its way to the core that accepts from it.
pub(super) struct Opening {
    pub bound: Bound,
    pub listener: Listener,
    pub drain: Drain,
    /// Counts the open connections.
    pub open: Arc<AtomicUsize>,
}

impl Worker {
    /// Starts the thread. `connections` limits the connections that it serves at once.
    pub fn start(index: usize, shared: Arc<Shared>, connections: usize) -> std::io::Result<Worker> {
        let (listeners, mut openings) = mpsc::unbounded_channel::<Opening>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let places = Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)));
        let idle = {
            let _on_it = runtime.enter();
            IdleConnections::start()?
        };
        let thread =
            std::thread::Builder::new().name(format!("core-{index}")).stack_size(STACK_BYTES).spawn(move || {
                runtime.block_on(async move {
                    while let Some(opening) = openings.recv().await {
                        tokio::spawn(accept(opening, shared.clone(), places.clone(), idle.clone()));
                    }
                });
            })?;
        Ok(Worker { listeners, thread: Some(thread) })
    }

    /// Accepts from a socket until it is drained.
    pub fn open(&self, opening: Opening) {
        // Fails only after the thread has ended, which it does when there is nothing left to accept.
        let _ = self.listeners.send(opening);
    }

    /// Ends the thread, and with it everything that is still running.
    pub fn stop(self) {
        let Worker { listeners, thread } = self;
        drop(listeners);
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

async fn accept(opening: Opening, shared: Arc<Shared>, places: Arc<Semaphore>, idle: IdleConnections) {
    if opening.listener.layer == Layer::Udp {
        return datagrams(opening, shared, places).await;
    }
    let Opening { bound, listener, drain, open } = opening;
    // One per core, so that cores do not contend for its reference count.
    let listener = Arc::new(listener);
    let counts = Arc::new(Counts { metrics: shared.workshop.metrics.listener(&listener.name), open });
    let name = listener.name.clone();
    let on_error = |error: &std::io::Error| {
        let fields: telemetry::Fields<'_> = &[("listener", &name), ("error", error)];
        telemetry::log(Level::Error, "a listener cannot accept", fields);
    };
    let serve_drain = drain.clone();
    let on_core = idle.clone();
    let serve = move |mut stream, peer, local, place| {
        let snapshot = shared.current();
        let rules = snapshot.rules_of(&listener).cloned();
        let open = rules.as_ref().and_then(|rules| Open::count(counts.clone(), rules.max_connections));
        let (shared, drain) = (shared.clone(), serve_drain.clone());
        let (listener, idle) = (listener.clone(), idle.clone());
        let settings = snapshot.settings_of(&listener);
        // The newest certificates. If there are none, a TLS connection is closed rather than served as plaintext.
        let tls = listener.tls.then(|| (snapshot.tls_of(&listener).cloned(), snapshot.handshake_timeout()));
        async move {
            // Without rules nobody would be kept out, so nobody is admitted.
            let (Some(rules), Some(open)) = (rules, open) else { return };
            let (client, local) = match &rules.proxied {
                None => (peer, local),
                // Boxed for the same reason as below.
                Some(policy) => match Box::pin(proxied::accept(&mut stream, (peer, local), policy)).await {
                    Ok(ends) => ends,
                    Err(refusal) => return refused(&shared, &listener, peer, &refusal),
                },
            };
            if !admits(&shared.current(), &rules, listener.layer, client.ip()) {
                return kept_out(&shared, &listener, client);
            }
            if listener.layer == Layer::Tcp {
                // If the name now belongs to a listener for HTTP, there is nowhere to forward to.
                let Some(forward) = rules.forward.clone() else { return };
                let ends = Ends { peer, client, local };
                // Boxed, so that connections for HTTP do not carry its state.
                return Box::pin(l4::tcp::serve(stream, ends, forward, shared.access_log.clone(), drain)).await;
            }
            match tls {
                None => {
                    let plaintext = Plaintext { client, local, listener, settings, shared, drain, idle, open, place };
                    plaintext.serve(Stage::New(stream)).await;
                }
                // Boxed, so that connections without TLS do not carry its state.
                Some((server, limit)) => {
                    Box::pin(async {
                        let Some(server) = server else { return };
                        let connection = Connection::new(client, local, listener.name.clone(), &Scheme::HTTP);
                        let Some((stream, peer)) =
                            handshake(&server, stream, limit, &connection, &drain, open.metrics()).await
                        else {
                            return;
                        };
                        let connection = Arc::new(connection.secured(peer));
                        let handler = move |connection, request| {
                            proxy::handle(shared.current(), listener.clone(), connection, request)
                        };
                        downstream::serve(stream, connection, settings, handler, drain).await;
                        drop((open, place));
                    })
                    .await
                }
            }
        }
    };
    listener::accept(bound, places, drain, on_error, serve).await;
    on_core.drained();
}

/// The TLS handshake of a connection; `None` if it failed, which has been counted and logged.
async fn handshake(
    server: &tls::Server,
    stream: TcpStream,
    limit: Duration,
    connection: &Connection,
    drain: &Drain,
    metrics: &ListenerMetrics,
) -> Option<(tls::Stream, Arc<tls::Peer>)> {
    let refused = match server.accept(stream, limit, drain).await {
        Ok((stream, peer)) => {
            metrics.handshake(if peer.is_resumed { Handshake::Resumed } else { Handshake::Full });
            return Some((stream, peer));
        }
        Err(refused) => refused,
    };
    match refused {
        tls::Refused::Silent => return None,
        tls::Refused::TimedOut(_) => metrics.handshake(Handshake::TimedOut),
        tls::Refused::PlainHttp => metrics.handshake(Handshake::PlainHttp),
        tls::Refused::Failed(_) => metrics.handshake(Handshake::Failed),
    }
    let fields: telemetry::Fields<'_> =
        &[("listener", &connection.listener), ("peer", &connection.peer), ("reason", &refused)];
    telemetry::log(Level::Info, "a TLS handshake failed", fields);
    None
}

/// Notes a connection that is closed because its PROXY header was refused.
fn refused(shared: &Shared, listener: &Listener, peer: SocketAddr, refusal: &Refusal) {
    shared.workshop.metrics.server.limit_hit(RequestLimit::ProxyProtocol);
    let fields: telemetry::Fields<'_> = &[("listener", &listener.name), ("peer", &peer), ("reason", refusal)];
    telemetry::log(Level::Warn, "a connection is closed", fields);
}

/// Whether a connection of this client is served. A trusted proxy may connect on behalf of others: each of its requests
/// is judged by its own client.
fn admits(snapshot: &Snapshot, rules: &Rules, layer: Layer, client: IpAddr) -> bool {
    rules.lets_in(client) || layer == Layer::Http && snapshot.trusts(client)
}

/// Notes a connection from an address that the listener does not admit.
fn kept_out(shared: &Shared, listener: &Listener, client: SocketAddr) {
    shared.workshop.metrics.server.limit_hit(RequestLimit::Address);
    let fields: telemetry::Fields<'_> = &[("listener", &listener.name), ("client", &client)];
    telemetry::log(Level::Info, "a connection is closed: the listener keeps its address out", fields);
}

async fn datagrams(opening: Opening, shared: Arc<Shared>, places: Arc<Semaphore>) {
    let Opening { bound, listener, drain, .. } = opening;
    let service = l4::udp::Service {
        metrics: shared.workshop.metrics.listener(&listener.name),
        access_log: shared.access_log.clone(),
        places,
        rules: |client: IpAddr| {
            let snapshot = shared.current();
            let rules = snapshot.rules_of(&listener)?;
            let forward = rules.forward.clone()?;
            if !rules.lets_in(client) {
                forward.metrics.dropped(Dropped::Address);
                return None;
            }
            Some((forward, rules.max_connections.unwrap_or(u64::MAX)))
        },
    };
    if let Err(error) = l4::udp::serve(bound.into_udp(), service, drain).await {
        let fields: telemetry::Fields<'_> = &[("listener", &listener.name), ("error", &error)];
        telemetry::log(Level::Error, "a listener cannot receive", fields);
    }
}

/// A connection that is counted as open until it ends, in whatever way.
pub(super) struct Open(Arc<Counts>);

/// Counts the connections of one listener on one core.
struct Counts {
    /// Those of all listeners of this name, including ones that were removed.
    metrics: Arc<ListenerMetrics>,
    open: Arc<AtomicUsize>,
}

impl Open {
    /// `None` if the limit is reached. Cores count independently, so two of them may each take the last slot at the
    /// same moment.
    fn count(counts: Arc<Counts>, limit: Option<u64>) -> Option<Open> {
        let metrics = &counts.metrics;
        if limit.is_some_and(|limit| metrics.open() >= limit) {
            metrics.refused();
            return None;
        }
        metrics.accepted();
        counts.open.fetch_add(1, Relaxed);
        Some(Open(counts))
    }

    pub(super) fn metrics(&self) -> &Arc<ListenerMetrics> {
        &self.0.metrics
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.closed();
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// The stack includes that of guests (512 KiB at most) and the host's part of a deep call.
const STACK_BYTES: usize = 4 << 20;
