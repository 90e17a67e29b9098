//! Names of endpoints: which of them discovery resolves, and their first addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::Workshop;
use crate::config::{self, Diagnostic, Loaded, Resolve, child};
use crate::discovery::{self, Family, Query, Settings};
use crate::telemetry::{self, Level};
use crate::upstream::Upstream;

/// How names are resolved.
pub(super) fn settings(loaded: &Loaded, workshop: &Workshop) -> Settings {
    let resolver = &loaded.config.resolver;
    let is_system = resolver.servers.is_empty();
    Settings {
        servers: resolver.servers.iter().map(|server| server.0).collect(),
        system: is_system.then(|| std::fs::read(discovery::SYSTEM).ok()).flatten(),
        timeout: resolver.timeout.into(),
        min_ttl: resolver.min_ttl.into(),
        max_ttl: resolver.max_ttl.into(),
        hold: resolver.hold.into(),
        hosts: workshop.directory.join(&resolver.hosts),
    }
}

/// The name that discovery resolves for an endpoint; `None` if its address is an IP address, or if it is to stay one
/// endpoint whatever it resolves to.
pub(super) fn query(endpoint: &config::Endpoint) -> Option<Query> {
    let address = &endpoint.address;
    let is_local = address.host == "localhost" || address.host.ends_with(".localhost");
    let family = match endpoint.resolve {
        Some(Resolve::Connection) => return None,
        // Both of its addresses are this machine, and a server may listen on only one of them.
        None if is_local && !address.is_service() => return None,
        None | Some(Resolve::Ipv4First) => Family::Ipv4First,
        Some(Resolve::Ipv6First) => Family::Ipv6First,
        Some(Resolve::Ipv4) => Family::Ipv4,
        Some(Resolve::Ipv6) => Family::Ipv6,
        Some(Resolve::All) => Family::All,
    };
    let name = address.host.as_str().into();
    match address.port {
        0 => Some(Query::Service { name, family }),
        _ if address.host.parse::<IpAddr>().is_ok() => None,
        port => Some(Query::Host { host: name, port, family }),
    }
}

/// Resolves the names that are not known yet, all at once. A name without an address is a mistake, or a warning if the
/// configuration says so.
pub(super) fn ask(
    loaded: &Loaded,
    settings: &Settings,
    upstreams: &BTreeMap<Arc<str>, Arc<Upstream>>,
    mistakes: &mut Vec<Diagnostic>,
) {
    let unknown = |upstream: &Arc<Upstream>, query: &Query| upstream.found(query).is_none_or(|found| found.is_empty());
    let all = upstreams.values().flat_map(|upstream| upstream.queries().filter(|query| unknown(upstream, query)));
    let all: BTreeSet<Query> = all.cloned().collect();
    if all.is_empty() {
        return;
    }
    let answers = match discovery::ask_all(settings, all) {
        Ok(answers) => answers,
        Err(error) => return mistakes.push(loaded.diagnostic("/resolver", error.to_string(), None)),
    };
    for (name, upstream) in upstreams {
        let found = answers.iter().filter(|(query, _)| upstream.queries().any(|asked| asked == *query));
        let found = found.filter_map(|(query, answer)| Some((query.clone(), answer.as_ref().ok()?.found.clone())));
        upstream.discovered(found.filter(|(query, _)| unknown(upstream, query)).collect::<Vec<_>>());
        let Some(config) = loaded.config.upstreams.get(&**name) else { continue };
        for (at, endpoint) in config.endpoints.iter().enumerate() {
            let Some((query, answer)) = query(endpoint).and_then(|query| answers.get_key_value(&query)) else {
                continue;
            };
            let problem = match answer {
                Ok(answer) if answer.found.is_empty() => format!("the name {query} has no address"),
                Ok(_) => continue,
                Err(error) => format!("the name {query} is not resolved: {error}"),
            };
            match loaded.config.resolver.unresolved {
                config::Unresolved::Warn => {
                    telemetry::log(Level::Warn, &problem, &[("upstream", name), ("endpoint", query)]);
                }
                config::Unresolved::Refuse => {
                    let help = "\"resolver\": { \"unresolved\": \"warn\" } loads the configuration all the same";
                    mistakes.push(loaded.diagnostic(&place(loaded, name, at), problem, Some(help)));
                }
            }
        }
    }
}

/// The position of an endpoint's address, in either form of the configuration.
fn place(loaded: &Loaded, upstream: &str, at: usize) -> String {
    let section = child("/upstreams", upstream);
    let exists = |pointer: &String| loaded.document.value().pointer(pointer).is_some();
    let list =
        if loaded.document.value().pointer(&section).is_some_and(|it| it.is_array()) { "" } else { "/endpoints" };
    let entry = format!("{section}{list}/{at}");
    Some(format!("{entry}/address")).filter(exists).unwrap_or(entry)
}
