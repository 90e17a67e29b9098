//! A data core: one thread, one runtime, its own sockets. What it serves never leaves it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http::Request;
use http::uri::Scheme;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};

use super::Shared;
use crate::body::Body;
use crate::drain::Drain;
use crate::http::{self as downstream, Connection};
use crate::listener::{self, Bound};
use crate::proxy;
use crate::snapshot::Listen;
use crate::telemetry::metrics::ListenerMetrics;
use crate::telemetry::server_metrics::Handshake;
use crate::telemetry::{self, Level};
use crate::tls;

/// A running data core. Dropped, it takes no more listeners and ends when it is told to by [`Worker::stop`].
pub(super) struct Worker {
    listeners: mpsc::UnboundedSender<Opening>,
    thread: Option<JoinHandle<()>>,
}

/// A bound socket on its way to the core that accepts from it.
pub(super) struct Opening {
    pub bound: Bound,
    pub listen: Listen,
    /// Where there is TLS: for connections that are accepted when the listener is in no configuration any more.
    pub tls: Option<Arc<tls::Server>>,
    pub drain: Drain,
}

impl Worker {
    /// Starts the thread. `connections` bounds what it serves at once.
    pub fn start(index: usize, shared: Arc<Shared>, connections: usize) -> std::io::Result<Worker> {
        let (listeners, mut openings) = mpsc::unbounded_channel::<Opening>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let places = Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)));
        let thread =
            std::thread::Builder::new().name(format!("core-{index}")).stack_size(STACK_BYTES).spawn(move || {
                runtime.block_on(async move {
                    while let Some(opening) = openings.recv().await {
                        tokio::spawn(accept(opening, shared.clone(), places.clone()));
                    }
                });
            })?;
        Ok(Worker { listeners, thread: Some(thread) })
    }

    /// Accepts from a socket until its drain is asked for.
    pub fn open(&self, opening: Opening) {
        // Fails only after the thread has ended, which it does when nothing is to be accepted any more.
        let _ = self.listeners.send(opening);
    }

    /// Ends the thread, and with it what has not ended by itself.
    pub fn stop(self) {
        let Worker { listeners, thread } = self;
        drop(listeners);
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

async fn accept(opening: Opening, shared: Arc<Shared>, places: Arc<Semaphore>) {
    let Opening { bound, listen, tls, drain } = opening;
    let metrics = shared.workshop.metrics.listener(&listen.name);
    let name = listen.name.clone();
    let on_error = |error: &std::io::Error| {
        let fields: telemetry::Fields<'_> = &[("listener", &name), ("error", error)];
        telemetry::log(Level::Error, "a listener cannot accept", fields);
    };
    let serve_drain = drain.clone();
    let serve = move |stream, peer, local| {
        let open = Open::count(metrics.clone());
        let (shared, drain) = (shared.clone(), serve_drain.clone());
        let connection = Connection::new(peer, local, listen.name.clone(), &Scheme::HTTP);
        let snapshot = shared.current();
        let settings = snapshot.settings_of(&listen);
        // The newest certificates; whatever happens, nobody is served in the clear where TLS was bound.
        let tls = tls
            .as_ref()
            .map(|bound| (snapshot.tls(&listen.name).unwrap_or(bound).clone(), snapshot.handshake_timeout()));
        async move {
            let handler = move |connection: Arc<Connection>, request: Request<Body>| {
                proxy::handle(shared.current(), connection, request)
            };
            match tls {
                None => downstream::serve(stream, Arc::new(connection), settings, handler, drain).await,
                // On the heap, so that it takes no room where there is no TLS.
                Some((server, limit)) => {
                    Box::pin(async {
                        let Some((stream, peer)) =
                            handshake(&server, stream, limit, &connection, &drain, &open.0).await
                        else {
                            return;
                        };
                        downstream::serve(stream, Arc::new(connection.secured(peer)), settings, handler, drain).await;
                    })
                    .await
                }
            }
            drop(open);
        }
    };
    listener::accept(bound, places, drain, on_error, serve).await;
}

/// The TLS handshake of a connection; `None` where there is none, which has been counted and told.
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

/// A connection that is counted as open, until it ends, in whatever way.
struct Open(Arc<ListenerMetrics>);

impl Open {
    fn count(metrics: Arc<ListenerMetrics>) -> Open {
        metrics.accepted();
        Open(metrics)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.closed();
    }
}

/// Guests run on this stack (512 KiB of it at most), with the host's part of a deep call on top.
const STACK_BYTES: usize = 4 << 20;
