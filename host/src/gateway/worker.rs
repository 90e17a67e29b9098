//! A data core: one thread, one runtime, its own sockets. What it serves never leaves it.

use std::sync::Arc;
use std::thread::JoinHandle;

use http::Request;
use http::uri::Scheme;
use tokio::sync::{Semaphore, mpsc};

use super::Shared;
use crate::body::Body;
use crate::drain::Drain;
use crate::http::{self as downstream, Connection};
use crate::listener::{self, Bound};
use crate::proxy;
use crate::snapshot::Listen;
use crate::telemetry::metrics::ListenerMetrics;
use crate::telemetry::{self, Level};

/// A running data core. Dropped, it takes no more listeners and ends when it is told to by [`Worker::stop`].
pub(super) struct Worker {
    listeners: mpsc::UnboundedSender<Opening>,
    thread: Option<JoinHandle<()>>,
}

/// A bound socket on its way to the core that accepts from it.
pub(super) struct Opening {
    pub bound: Bound,
    pub listen: Listen,
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
    let Opening { bound, listen, drain } = opening;
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
        let connection = Arc::new(Connection::new(peer, local, listen.name.clone(), &Scheme::HTTP));
        let settings = shared.current().settings_of(&listen);
        async move {
            let handler = move |connection: Arc<Connection>, request: Request<Body>| {
                proxy::handle(shared.current(), connection, request)
            };
            downstream::serve(stream, connection, settings, handler, drain).await;
            drop(open);
        }
    };
    listener::accept(bound, places, drain, on_error, serve).await;
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
