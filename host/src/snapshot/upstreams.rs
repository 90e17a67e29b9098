//! Upstreams from their configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::SystemTime;

use super::{Workshop, delivery, discovery, health};
use crate::balance::Policy;
use crate::capability::secrets::Secrets;
use crate::config::{self, Diagnostic, Loaded, child};
use crate::proxy_protocol::Version;
use crate::telemetry::{self, Level};
use crate::tls::{Connector, Outgoing, OutgoingPart, Pair, Trust};
use crate::upstream::{
    Address, Hash, HashBy, Named, NoneAvailable, Protocol, SameSite, Server, Settings, Sticky, StickyKey, Transport,
    Upstream,
};

type Upstreams = BTreeMap<Arc<str>, Arc<Upstream>>;

/// Builds all upstreams. One with unchanged settings is reused.
pub(super) fn build(
    loaded: &Loaded,
    secrets: &Secrets,
    trust: &Trust,
    workshop: &Workshop,
    previous: Option<&Upstreams>,
    mistakes: &mut Vec<Diagnostic>,
) -> Upstreams {
    let mut upstreams = Upstreams::new();
    for (name, config) in &loaded.config.upstreams {
        let mut settings = settings(name, config, &loaded.config.limits);
        settings.sticky = config.sticky.as_ref().and_then(|sticky| match sticky_key(name, sticky, secrets) {
            Ok(key) => Some(sticky_settings(name, sticky, key)),
            Err(problem) => {
                let place = format!("{}/sticky/key", child("/upstreams", name));
                mistakes.push(loaded.diagnostic(&place, problem, None));
                None
            }
        });
        let before = previous.and_then(|previous| previous.get(name.as_str()));
        if let Some(tls) = &config.tls {
            let before = before.and_then(|before| before.settings().transport.tls.as_ref());
            let place = child("/upstreams", name);
            match Connector::load(outgoing(tls, &workshop.directory), trust, before, SystemTime::now()) {
                Ok(connector) => settings.transport.tls = Some(connector),
                Err(found) => mistakes.extend(found.into_iter().map(|(part, mistake)| {
                    loaded.diagnostic(&tls_pointer(&place, part), mistake.message, mistake.help.as_deref())
                })),
            }
        }
        let upstream = match before {
            Some(before) if *before.settings() == settings => before.clone(),
            _ => Upstream::counted(settings, before, workshop.metrics.upstream(name)),
        };
        upstreams.insert(name.as_str().into(), upstream);
    }
    upstreams
}

fn settings(name: &str, config: &config::Upstream, limits: &config::Limits) -> Settings {
    // The schema has already checked all addresses, by stricter rules than this parser's.
    let server = |endpoint: &config::Endpoint| {
        if discovery::query(endpoint).is_some() {
            return None;
        }
        let address: Address = endpoint.address.to_string().parse().ok()?;
        Some(Server { address, weight: endpoint.weight, priority: endpoint.priority })
    };
    Settings {
        name: name.into(),
        endpoints: config.endpoints.iter().filter_map(server).collect(),
        names: config.endpoints.iter().filter_map(named).collect(),
        balance: match config.balance {
            config::Balance::RoundRobin => Policy::RoundRobin,
            config::Balance::LeastRequests => Policy::LeastRequests,
            config::Balance::PeakEwma => Policy::PeakEwma,
            config::Balance::Random | config::Balance::Hash(_) => Policy::Random,
        },
        hash: match &config.balance {
            config::Balance::Hash(hash) => hash_by(&hash.by).map(|by| Hash { by, bounded_load: hash.bounded_load }),
            _ => None,
        },
        sticky: None,
        slow_start: config.slow_start.map(Into::into),
        none_available: match config.none_available {
            config::NoneAvailable::Refuse => NoneAvailable::Refuse,
            config::NoneAvailable::UseAll => NoneAvailable::UseAll,
        },
        transport: Transport {
            protocol: match config.protocol {
                config::UpstreamProtocol::Http1 => Protocol::Http1,
                config::UpstreamProtocol::Http2 | config::UpstreamProtocol::Http2Clear => Protocol::Http2,
            },
            tls: None,
            proxy_protocol: config.proxy_protocol.map(|version| match version {
                config::ProxyProtocol::V1 => Version::V1,
                config::ProxyProtocol::V2 => Version::V2,
            }),
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
        max_requests: config.max_requests.map(|most| most as usize),
        retry_budget: delivery::share(&config.retry_budget),
    }
}

pub(super) fn outgoing(tls: &config::UpstreamTls, directory: &Path) -> Outgoing {
    Outgoing {
        ca: tls.ca.as_ref().map(|ca| directory.join(ca)),
        server_name: tls.server_name.clone(),
        names: tls.subject_alt_names.clone().unwrap_or_default(),
        certificate: tls
            .certificate
            .as_ref()
            .map(|pair| Pair { cert: directory.join(&pair.cert), key: directory.join(&pair.key) }),
        tls12: tls.min_version == config::TlsVersion::Tls12,
    }
}

/// The position of a mistake in the `tls` of an upstream or a store.
pub(super) fn tls_pointer(parent: &str, part: OutgoingPart) -> String {
    let tls = child(parent, "tls");
    match part {
        OutgoingPart::Whole => tls,
        OutgoingPart::Authorities => format!("{tls}/ca"),
        OutgoingPart::ServerName => format!("{tls}/server_name"),
        OutgoingPart::Name(at) => format!("{tls}/subject_alt_names/{at}"),
        OutgoingPart::Certificate => format!("{tls}/certificate/cert"),
        OutgoingPart::Key => format!("{tls}/certificate/key"),
    }
}

/// The files that upstreams are built from.
pub(super) fn files(config: &config::Config, directory: &Path) -> Vec<PathBuf> {
    let tls = config.upstreams.values().filter_map(|upstream| upstream.tls.as_ref());
    tls.flat_map(|tls| outgoing(tls, directory).files().cloned().collect::<Vec<_>>()).collect()
}

fn named(endpoint: &config::Endpoint) -> Option<Named> {
    let query = discovery::query(endpoint)?;
    Some(Named { query, weight: endpoint.weight, priority: endpoint.priority })
}

fn hash_by(by: &config::HashBy) -> Option<HashBy> {
    Some(match by {
        config::HashBy::Source => HashBy::Source,
        config::HashBy::Path => HashBy::Path,
        config::HashBy::Identity => HashBy::Identity,
        // The schema has already checked that it is a field name.
        config::HashBy::Header(name) => HashBy::Header(name.as_str().parse().ok()?),
        config::HashBy::Cookie(name) => HashBy::Cookie(name.as_str().to_owned()),
        config::HashBy::Query(name) => HashBy::Query(name.clone()),
    })
}

fn sticky_settings(name: &str, sticky: &config::Sticky, key: StickyKey) -> Sticky {
    Sticky {
        cookie: sticky.cookie.as_ref().map_or_else(|| format!("gatewright-{name}"), |name| name.as_str().to_owned()),
        path: sticky.path.to_string(),
        ttl: sticky.ttl.map(Into::into),
        same_site: match sticky.same_site {
            config::SameSite::Strict => SameSite::Strict,
            config::SameSite::Lax => SameSite::Lax,
            config::SameSite::None => SameSite::None,
        },
        secure: sticky.secure,
        key,
    }
}

/// The key that signs the upstream's cookies. An unknown secret has already been reported.
fn sticky_key(name: &str, sticky: &config::Sticky, secrets: &Secrets) -> Result<StickyKey, String> {
    let Some(secret) = &sticky.key else {
        static WARNED: Once = Once::new();
        WARNED.call_once(|| {
            let message = "sticky sessions without a \"key\" end with this process, and no other gateway knows them";
            telemetry::log(Level::Warn, message, &[("upstream", &name)]);
        });
        return Ok(StickyKey::of_this_process());
    };
    match secrets.grant([secret.as_str()]) {
        Ok(granted) => StickyKey::new(granted.get(secret).unwrap_or_default())
            .map_err(|problem| format!("the secret {secret:?} does not sign cookies: {problem}")),
        Err(_) => Ok(StickyKey::of_this_process()),
    }
}
