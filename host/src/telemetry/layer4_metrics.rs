//! Metrics of layer 4: bytes, and how connections and sessions end.

use std::sync::Arc;

use super::access_log::Outcome;
use super::counters::Counters;
use super::exposition::{Exposition, Kind};

/// The connections, or the sessions, that one listener forwards.
#[derive(Default)]
pub struct Layer4Metrics {
    bytes: Counters<2>,
    ended: Counters<{ Outcome::ALL.len() }>,
    dropped: Counters<{ Dropped::ALL.len() }>,
}

labels! {
    /// Why a datagram was not forwarded.
    Dropped {
        /// The maximum number of sessions exists.
        Sessions => "sessions",
        /// The next socket was full.
        Full => "full",
        /// It was too long for the path to the endpoint.
        Size => "size",
        /// No endpoint could be reached.
        NoEndpoint => "no-endpoint",
        /// The gateway is about to close the listener.
        Draining => "draining",
        /// The listener refuses its sender's address.
        Address => "address",
    }
}

const RECEIVED: usize = 0;
const SENT: usize = 1;

impl Layer4Metrics {
    /// Bytes from and to a client.
    pub fn moved(&self, received: u64, sent: u64) {
        self.bytes.add(RECEIVED, received);
        self.bytes.add(SENT, sent);
    }

    pub fn ended(&self, outcome: Outcome) {
        self.ended.add(outcome as usize, 1);
    }

    pub fn dropped(&self, why: Dropped) {
        self.dropped.add(why as usize, 1);
    }

    pub(super) fn expose(page: &mut Exposition, listeners: &[(Arc<str>, Arc<Layer4Metrics>)]) {
        let name = "gatewright_layer4_bytes_total";
        page.family(name, Kind::Counter, "Bytes forwarded at layer 4, from clients (received) and to them (sent).");
        for (listener, metrics) in listeners {
            for (direction, index) in [("received", RECEIVED), ("sent", SENT)] {
                page.sample(name, &[("listener", listener), ("direction", direction)], metrics.bytes.sum(index));
            }
        }
        let name = "gatewright_layer4_ended_total";
        page.family(name, Kind::Counter, "Connections and sessions at layer 4 that ended, by how.");
        for (listener, metrics) in listeners {
            for outcome in Outcome::ALL {
                let labels = [("listener", &**listener), ("outcome", outcome.name())];
                page.sample(name, &labels, metrics.ended.sum(*outcome as usize));
            }
        }
        let name = "gatewright_layer4_dropped_datagrams_total";
        page.family(name, Kind::Counter, "Datagrams that were not forwarded, by why.");
        for (listener, metrics) in listeners {
            for why in Dropped::ALL {
                let labels = [("listener", &**listener), ("reason", why.name())];
                page.sample(name, &labels, metrics.dropped.sum(*why as usize));
            }
        }
    }
}
