//! Which sockets are open, and for which listeners.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use super::{Error, Running};
use crate::drain::Drainer;
use crate::listener::{self, Options, Transport};
use crate::snapshot::{Layer, Listen, Parting};
use crate::telemetry::{self, Level};

/// The identity of a listener's socket: a listener with the same key needs no new socket.
pub(super) type Key = (SocketAddr, Arc<str>, bool, bool, bool, Layer);

pub(super) struct Listening {
    /// With the actual port.
    pub address: SocketAddr,
    pub drainer: Drainer,
    pub parting: Parting,
    /// The open connections of each core.
    pub open: Vec<Arc<AtomicUsize>>,
}

impl Listening {
    /// Lets what runs finish, at most for `deadline`, after the listener was removed; what has not finished is cut.
    pub async fn drain(self, name: Arc<str>, deadline: Duration) {
        let left = self.left_after(deadline).await;
        if left > 0 {
            telemetry::log(Level::Warn, CUT, &[("listener", &name), ("connections", &left)]);
        }
    }

    /// Lets what runs finish, and returns how many connections have not.
    async fn left_after(&self, deadline: Duration) -> usize {
        match self.drainer.drain(deadline).await {
            // A connection may still be counted for a moment.
            true => 0,
            false => self.open.iter().map(|open| open.load(Relaxed)).sum(),
        }
    }
}

/// The same for all listeners, when the gateway stops.
pub(super) async fn drain_all(listeners: Vec<Listening>, deadline: Duration) {
    listeners.iter().for_each(|listening| listening.drainer.ask());
    let until = Instant::now() + deadline;
    let mut left = 0;
    for listening in &listeners {
        left += listening.left_after(until.saturating_duration_since(Instant::now())).await;
    }
    if left > 0 {
        telemetry::log(Level::Warn, CUT, &[("connections", &left)]);
    }
}

/// Binds the sockets of all new listeners, for all cores, or none of them.
pub(super) fn bind(new: &[&Listen], running: &Running) -> Result<Vec<(Listen, Vec<listener::Bound>)>, Error> {
    let mut openings = Vec::with_capacity(new.len());
    for listen in new {
        // A listener that takes over one of our own addresses shares it until the old listener has released it.
        let transport = transport(listen.layer);
        let is_held = |(.., layer): &Key, held| self::transport(*layer) == transport && overlap(held, listen.address);
        let is_ours = running.listeners.iter().any(|(key, listening)| is_held(key, listening.address));
        let options = Options { exclusive: !is_ours, transport, ..Options::default() };
        let sockets = listener::bind(&[listen.address], running.workers.len(), options).map_err(Error::Bind)?;
        openings.push(((*listen).clone(), sockets.into_iter().flatten().collect()));
    }
    Ok(openings)
}

/// Whether the two addresses are the same, or one is the unspecified address with the same port.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.is_ipv4() == other.is_ipv4() && (is_any || one.ip() == other.ip())
}

fn transport(layer: Layer) -> Transport {
    if layer == Layer::Udp { Transport::Udp } else { Transport::Tcp }
}

pub(super) fn key(listen: &Listen) -> Key {
    (listen.address, listen.name.clone(), listen.http1, listen.http2, listen.tls, listen.layer)
}

/// The message about connections that have not ended in time.
const CUT: &str = "the drain time is over; connections are cut";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::drain;

    #[tokio::test(start_paused = true)]
    async fn connections_are_counted_and_not_who_waits_for_them() {
        let listening = |drainer| {
            let (address, parting) = ("127.0.0.1:80".parse().unwrap(), Parting::default());
            let open = [2, 1].map(|open| Arc::new(AtomicUsize::new(open))).into();
            Listening { address, drainer, parting, open }
        };
        let (drainer, drain) = drain::channel();
        let _several = (drain.clone(), drain.over());
        assert_eq!(listening(drainer).left_after(Duration::from_secs(1)).await, 3);
        let (drainer, drain) = drain::channel();
        drop(drain);
        assert_eq!(listening(drainer).left_after(Duration::from_secs(1)).await, 0, "all have finished");
    }

    #[test]
    fn an_address_and_every_address_overlap() {
        for (one, other, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("[::1]:80", "[::]:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "0.0.0.0:81", false),
            ("127.0.0.1:80", "[::]:80", false),
            ("0.0.0.0:80", "[::1]:80", false),
        ] {
            let (one, other): (SocketAddr, SocketAddr) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!((overlap(one, other), overlap(other, one)), (expected, expected), "{one} {other}");
        }
    }
}
