//! Listeners from their configuration: sockets to bind, and what is spoken over them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::layer4::Layer;
use crate::config::{self, Diagnostic, Loaded};
use crate::tls::{self, Alpn, Part};

/// A listener to be bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub name: Arc<str>,
    pub address: SocketAddr,
    pub http1: bool,
    pub http2: bool,
    /// Whether clients use TLS; the snapshot has the settings.
    pub tls: bool,
    pub layer: Layer,
}

/// The TLS of the listeners that have it, by the listener's name.
pub(super) type Servers = BTreeMap<Arc<str>, Arc<tls::Server>>;

/// The sockets of all listeners.
pub(super) fn listeners(config: &config::Config) -> Vec<Listen> {
    let listen = |(name, listener): (Arc<str>, &config::Listener)| {
        let ips = match listener.address.ip {
            Some(ip) => vec![ip],
            // IPv4 gets its own socket: a shared one would show every IPv4 client as a mapped IPv6 address.
            None if has_ipv6() => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
            None => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        };
        let listen = Listen {
            name,
            address: (Ipv4Addr::UNSPECIFIED, listener.address.port).into(),
            http1: listener.protocols.contains(&config::Protocol::Http1),
            http2: listener.protocols.contains(&config::Protocol::Http2),
            tls: listener.tls.is_some(),
            layer: Layer::of(listener),
        };
        let port = listener.address.port;
        ips.into_iter().map(move |ip| Listen { address: (ip, port).into(), ..listen.clone() }).collect::<Vec<_>>()
    };
    names(config).into_iter().zip(&config.listeners).flat_map(listen).collect()
}

/// Reads the certificates of all listeners. Unchanged ones are reused.
pub(super) fn servers(
    loaded: &Loaded,
    directory: &Path,
    previous: Option<&Servers>,
    mistakes: &mut Vec<Diagnostic>,
) -> Servers {
    let mut servers = Servers::new();
    for (at, (name, listener)) in names(&loaded.config).into_iter().zip(&loaded.config.listeners).enumerate() {
        let Some(tls) = &listener.tls else { continue };
        let previous = previous.and_then(|previous| previous.get(&name));
        let settings = settings(tls, &listener.protocols, directory);
        match tls::Server::load(settings, previous, SystemTime::now()) {
            Ok(server) => drop(servers.insert(name, server)),
            Err(found) => mistakes.extend(found.into_iter().map(|(part, mistake)| {
                loaded.diagnostic(&pointer(at, part), mistake.message, mistake.help.as_deref())
            })),
        }
    }
    servers
}

/// The certificate files.
pub(super) fn files(config: &config::Config, directory: &Path) -> Vec<PathBuf> {
    let tls = config.listeners.iter().filter_map(|listener| Some(settings(listener.tls.as_ref()?, &[], directory)));
    tls.flat_map(|settings| settings.files()).collect()
}

fn settings(tls: &config::ListenerTls, protocols: &[config::Protocol], directory: &Path) -> tls::Settings {
    let pair =
        |pair: &config::Certificate| tls::Pair { cert: directory.join(&pair.cert), key: directory.join(&pair.key) };
    // HTTP/2 first, whatever the order in the configuration: a client that supports both benefits from it.
    let known = [(config::Protocol::Http2, Alpn::Http2), (config::Protocol::Http1, Alpn::Http1)];
    tls::Settings {
        certificates: match tls.self_signed {
            true => tls::Certificates::SelfSigned,
            false => tls::Certificates::Files(tls.certificates.iter().map(pair).collect()),
        },
        tls12: tls.min_version == config::TlsVersion::Tls12,
        clients: tls
            .client
            .as_ref()
            .map(|client| tls::Clients { ca: directory.join(&client.ca), required: client.required }),
        protocols: known.into_iter().filter(|(name, _)| protocols.contains(name)).map(|(_, alpn)| alpn).collect(),
    }
}

fn pointer(listener: usize, part: Part) -> String {
    let tls = format!("/listeners/{listener}/tls");
    match part {
        Part::Server => tls,
        Part::Certificate(at) => format!("{tls}/certificates/{at}/cert"),
        Part::Key(at) => format!("{tls}/certificates/{at}/key"),
        Part::ClientAuthorities => format!("{tls}/client/ca"),
    }
}

/// The names of the listeners in logs and metrics, in the order of the configuration. Listeners that take a free port
/// on the same address are distinguished by a number: ":0", ":0#2".
pub(super) fn names(config: &config::Config) -> Vec<Arc<str>> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut name = |listener: &config::Listener| -> Arc<str> {
        if let Some(name) = &listener.name {
            return name.as_str().into();
        }
        let address = listener.address.to_string();
        let count = seen.entry(address.clone()).or_default();
        *count += 1;
        if *count == 1 { address.into() } else { format!("{address}#{count}").into() }
    };
    config.listeners.iter().map(&mut name).collect()
}

/// Whether this machine has IPv6.
pub fn has_ipv6() -> bool {
    std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}
