//! Layer 4: connections and datagrams that are forwarded unchanged, through the same upstreams, balancing, health and
//! limits as requests.
//!
//! ```text
//! client ══▶ listener ──▶ l4::tcp ──▶ (server name) ──▶ targets ──▶ upstream: pick, connect ══▶ server
//!                                                                         │ refused: the next endpoint
//!                         record ◀── relay: both ways, half-close kept ◀──┘
//! ```
//!
//! [`tcp::serve`] is the life of a connection and [`udp::serve`] that of a listener's datagrams, each from top to
//! bottom. Between socket and upstream there is only the choice of the upstream, so this room imports `upstream`
//! itself, where HTTP has `proxy` in between.
//!
//! A connection keeps the settings it began with: a reload that changes targets or removes the listener lets it
//! continue, in the latter case for the drain timeout. New connections see the new snapshot.

pub mod client_hello;
mod datagram;
mod record;
pub mod relay;
pub mod sni;
pub mod tcp;
pub mod udp;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thread_local::ThreadLocal;

use crate::balance::Split;
use crate::drain::Drain;
use crate::proxy_protocol::Header;
use crate::telemetry::metrics::Layer4Metrics;
use crate::upstream::Upstream;
use sni::Names;

/// How a listener forwards connections and datagrams.
pub struct Forward {
    pub listener: Arc<str>,
    pub route: Route,
    /// How long nothing may be transferred.
    pub idle_timeout: Duration,
    /// How long a client may take for its ClientHello.
    pub hello_timeout: Duration,
    /// How long connections may continue once the gateway drains or the listener is removed.
    pub drain_timeout: Duration,
    pub metrics: Arc<Layer4Metrics>,
}

/// What the choice of the target depends on.
#[allow(clippy::large_enum_variant)] // one for each listener
pub enum Route {
    /// Nothing.
    To(Targets),
    /// The server name in the client's first TLS message.
    ServerName(Names<Targets>),
}

/// Upstreams with weights.
pub struct Targets {
    upstreams: Vec<Arc<Upstream>>,
    weights: Vec<u32>,
    splits: ThreadLocal<RefCell<Split>>,
}

impl Targets {
    pub fn new(targets: impl IntoIterator<Item = (Arc<Upstream>, u32)>) -> Self {
        let (upstreams, weights) = targets.into_iter().unzip();
        Targets { upstreams, weights, splits: ThreadLocal::new() }
    }

    /// The upstream of the next connection.
    pub fn pick(&self) -> Option<&Arc<Upstream>> {
        if let [only] = self.upstreams.as_slice() {
            return Some(only);
        }
        let split = self.splits.get_or(|| RefCell::new(Split::new(&self.weights, fastrand::u64(..))));
        let index = split.borrow_mut().pick()?;
        self.upstreams.get(index)
    }

    /// In the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<Upstream>, u32)> {
        self.upstreams.iter().zip(self.weights.iter().copied())
    }
}

/// Waits until the drain was asked for, and `patience` has passed since.
async fn patience_ends(drain: &Drain, patience: Duration) {
    drain.asked().await;
    tokio::time::sleep(patience).await;
}

/// The addresses of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The peer of the connection.
    pub peer: SocketAddr,
    /// The client: the peer, or the client that a trusted proxy reports.
    pub client: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
}

impl Ends {
    /// The PROXY header for servers that expect one.
    fn header(&self) -> Header {
        Header::Proxied { source: self.client, destination: self.local }
    }
}
