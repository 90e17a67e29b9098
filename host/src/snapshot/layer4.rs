//! Listeners from their configuration: the settings of their connections, and the targets of those at layer 4.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::listeners;
use crate::config::{self, Config};
use crate::l4::sni::Names;
use crate::l4::{Forward, Route, Targets};
use crate::networks::{Gate, Networks};
use crate::proxy_protocol::Policy;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Upstream;

/// What a listener does with its traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    Http,
    /// Connections are forwarded unchanged.
    Tcp,
    /// Datagrams are forwarded unchanged.
    Udp,
}

impl Layer {
    pub(super) fn of(listener: &config::Listener) -> Layer {
        match listener.protocol {
            config::Layer::Udp => Layer::Udp,
            _ if listener.is_layer4() => Layer::Tcp,
            _ => Layer::Http,
        }
    }
}

/// The rules for the connections of a listener.
#[derive(Default)]
pub struct Rules {
    /// Further connections are closed immediately.
    pub max_connections: Option<u64>,
    /// Which client addresses are admitted.
    pub gate: Option<Gate>,
    /// Whether connections begin with a PROXY header that names the client.
    pub proxied: Option<Policy>,
    /// Where connections are forwarded to, at layer 4.
    pub forward: Option<Arc<Forward>>,
}

/// The rules of every listener.
pub(super) fn rules(
    config: &Config,
    metrics: &Metrics,
    upstreams: &BTreeMap<Arc<str>, Arc<Upstream>>,
) -> BTreeMap<Arc<str>, Arc<Rules>> {
    let targets = |to: &[config::ForwardTarget]| {
        let known =
            to.iter().filter_map(|target| Some((upstreams.get(target.upstream.as_str())?.clone(), target.weight)));
        Targets::new(known.collect::<Vec<_>>())
    };
    let rules = |(name, listener): (Arc<str>, &config::Listener)| {
        let forward = listener.is_layer4().then(|| {
            let route = match listener.passthrough.as_slice() {
                [] => Route::To(targets(&listener.to)),
                entries => Route::ServerName(Names::new(
                    entries
                        .iter()
                        .map(|entry| (entry.sni.iter().map(|name| name.as_str()).collect(), targets(&entry.to))),
                )),
            };
            let default = if listener.protocol == config::Layer::Udp { UDP_IDLE } else { TCP_IDLE };
            Arc::new(Forward {
                listener: name.clone(),
                route,
                idle_timeout: listener.idle_timeout.map_or(default, Duration::from),
                hello_timeout: config.timeouts.header_read.into(),
                drain_timeout: config.shutdown.drain_timeout.into(),
                metrics: metrics.layer4(&name),
            })
        });
        let is_udp = listener.protocol == config::Layer::Udp;
        let max_connections = listener.max_connections.map(u64::from).or(is_udp.then_some(UDP_SESSIONS));
        let proxied = listener.proxy_protocol.as_ref().map(|accept| Policy {
            trusted: networks(&accept.trusted),
            others: accept.others == config::Others::Plain,
            timeout: config.timeouts.header_read.into(),
        });
        let gate =
            listener.ip.as_ref().map(|lists| Gate { allow: networks(&lists.allow), deny: networks(&lists.deny) });
        (name, Arc::new(Rules { max_connections, gate, proxied, forward }))
    };
    listeners::names(config).into_iter().zip(&config.listeners).map(rules).collect()
}

impl Rules {
    /// Whether a client with this address is admitted.
    pub fn lets_in(&self, client: IpAddr) -> bool {
        self.gate.as_ref().is_none_or(|gate| gate.lets_in(client))
    }
}

pub(super) fn networks(ranges: &[config::Cidr]) -> Networks {
    ranges.iter().map(|range| range.get()).collect()
}

const TCP_IDLE: Duration = Duration::from_mins(10);
const UDP_IDLE: Duration = Duration::from_mins(1);
const UDP_SESSIONS: u64 = 16_384;
