//! Upstreams from their configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::health;
use crate::balance::Policy;
use crate::config::{self, Loaded};
use crate::upstream::{Address, Protocol, Server, Settings, Transport, Upstream};

type Upstreams = BTreeMap<Arc<str>, Arc<Upstream>>;

/// Makes all upstreams. One whose settings are the same is the same one as before.
pub(super) fn build(loaded: &Loaded, previous: Option<&Upstreams>) -> Upstreams {
    let mut upstreams = Upstreams::new();
    for (name, config) in &loaded.config.upstreams {
        let settings = settings(name, config, &loaded.config.limits);
        let before = previous.and_then(|previous| previous.get(name.as_str()));
        let upstream = match before {
            Some(before) if *before.settings() == settings => before.clone(),
            _ => Upstream::new(settings, before),
        };
        upstreams.insert(name.as_str().into(), upstream);
    }
    upstreams
}

fn settings(name: &str, config: &config::Upstream, limits: &config::Limits) -> Settings {
    // The schema has checked every address already, by stricter rules than this parser's.
    let server = |endpoint: &config::Endpoint| {
        let address: Address = endpoint.address.to_string().parse().ok()?;
        Some(Server { address, weight: endpoint.weight })
    };
    Settings {
        name: name.into(),
        endpoints: config.endpoints.iter().filter_map(server).collect(),
        balance: match config.balance {
            config::Balance::RoundRobin => Policy::RoundRobin,
            config::Balance::LeastRequests => Policy::LeastRequests,
            config::Balance::Random => Policy::Random,
        },
        transport: Transport {
            protocol: match config.protocol {
                config::UpstreamProtocol::Http1 => Protocol::Http1,
                config::UpstreamProtocol::Http2 => Protocol::H2c,
            },
            connect_timeout: config.connect_timeout.into(),
            response_timeout: config.response_timeout.into(),
            body_timeout: config.body_timeout.into(),
            idle_timeout: config.idle_timeout.into(),
            max_age: config.max_age.into(),
            max_connections: config.max_connections as usize,
            max_idle: config.max_idle as usize,
            max_pending: config.max_pending as usize,
            max_streams: config.max_streams,
            max_headers: limits.header_count as usize,
            max_header_bytes: limits.header_bytes.as_usize(),
        },
        ejection: health::ejection(&config.ejection),
        probing: config.health.as_ref().map(health::probing),
    }
}
