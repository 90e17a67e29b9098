//! An HTTP connection without TLS, which has no task while it is idle.

use std::net::SocketAddr;
use std::sync::Arc;

use http::uri::Scheme;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Shared;
use super::worker::Open;
use crate::drain::Drain;
use crate::http::{self as downstream, Connection, Resting, Settings, Stage};
use crate::listener::Place;
use crate::listener::idle::IdleConnections;
use crate::proxy;
use crate::snapshot::Listener;
use crate::telemetry::metrics::ListenerMetrics;

/// What is kept of a plaintext connection while it is idle: enough to continue.
pub(super) struct Plaintext {
    pub client: SocketAddr,
    pub local: SocketAddr,
    pub listener: Arc<Listener>,
    pub settings: Arc<Settings>,
    pub shared: Arc<Shared>,
    pub drain: Drain,
    pub idle: IdleConnections,
    pub open: Open,
    pub place: Place,
}

impl Plaintext {
    /// Serves the connection until it ends or becomes idle.
    pub async fn serve(self, stage: Stage<TcpStream>) {
        let name = self.listener.name.clone();
        let connection = Arc::new(Connection::new(self.client, self.local, name, &Scheme::HTTP));
        let (shared, listener) = (self.shared.clone(), self.listener.clone());
        let handler = move |connection, request| proxy::handle(shared.current(), listener.clone(), connection, request);
        // Boxed where it is created: the future has kilobytes, and a task is moved on its way to the runtime.
        match Box::pin(downstream::attend(stage, &connection, &self.settings, &handler, &self.drain)).await {
            None => drop((self.open, self.place)),
            Some(resting) => self.rest(resting),
        }
    }

    fn rest(self, resting: Resting<TcpStream>) {
        let Resting { io, since } = resting;
        let (idle, until, asked) = (self.idle.clone(), since + self.settings.idle_timeout, self.drain.flag());
        let rest = Rest::count(self.open.metrics().clone());
        let wake = move |io, until: Instant| {
            drop(rest);
            let since = until - self.settings.idle_timeout;
            tokio::spawn(async move {
                if let Some(awake) = (Resting { io, since }).wake(&self.settings, &self.drain).await {
                    self.serve(awake).await;
                }
            });
        };
        // The runtime cannot release the socket, which is then closed.
        let _ = idle.add(io, until, asked, Box::new(wake));
    }
}

/// A connection that is counted as idle.
struct Rest(Arc<ListenerMetrics>);

impl Rest {
    fn count(metrics: Arc<ListenerMetrics>) -> Rest {
        metrics.rests();
        Rest(metrics)
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.0.woken();
    }
}
