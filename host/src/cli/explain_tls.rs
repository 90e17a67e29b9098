//! `explain` for what happens before routing: at which listeners a request arrives, and which certificate they present
//! or whether they redirect it to https.

use std::collections::BTreeSet;
use std::fmt::Write;

use http::uri::Scheme;
use http::{StatusCode, Uri};

use crate::snapshot::{Layer, Snapshot};

/// Describes what the listeners on the port of an address do with it; nothing if it is only a path. If all of them
/// redirect the client to https, returns the status.
pub(super) fn describe(text: &mut String, snapshot: &Snapshot, uri: &Uri, path: &str) -> Option<StatusCode> {
    let host = uri.host()?;
    let is_secure = uri.scheme() == Some(&Scheme::HTTPS);
    let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let listeners = on_port(snapshot, port);
    if listeners.is_empty() {
        // A device in front may use another port than the listener's.
        let _ = writeln!(text, "  no listener takes requests on port {port}: what follows is of all listeners");
    }
    if is_secure {
        certificates(text, snapshot, &listeners, host.trim_matches(['[', ']']));
    }
    for (listener, https) in snapshot.https_listeners().filter(|(listener, _)| concerns(&listeners, listener)) {
        if snapshot.tls(listener).is_some() == is_secure {
            let _ = writeln!(text, "  listener {listener} {https}");
        }
    }
    let mut statuses = Vec::new();
    for listener in &listeners {
        if snapshot.tls(listener).is_some() == is_secure {
            let https = snapshot.https_listeners().find(|(name, _)| name.as_ref() == *listener);
            statuses.push(https.and_then(|(_, https)| https.sends_away(path)));
        } else {
            let spoken = if is_secure { "no TLS" } else { "only TLS" };
            let _ = writeln!(text, "  listener {listener} speaks {spoken}");
        }
    }
    let first = *statuses.first()?;
    first.filter(|_| statuses.iter().all(Option::is_some))
}

/// The listeners that accept requests on a port, by name.
fn on_port(snapshot: &Snapshot, port: u16) -> BTreeSet<&str> {
    let all = snapshot.listeners.iter().filter(|listen| listen.layer == Layer::Http && listen.address.port() == port);
    all.map(|listen| &*listen.name).collect()
}

/// Whether it is one of these listeners, or there are none to choose from.
fn concerns(listeners: &BTreeSet<&str>, listener: &str) -> bool {
    listeners.is_empty() || listeners.contains(listener)
}

fn certificates(text: &mut String, snapshot: &Snapshot, listeners: &BTreeSet<&str>, host: &str) {
    for (listener, server) in snapshot.tls_listeners().filter(|(listener, _)| concerns(listeners, listener)) {
        let (files, by_name) = server.shown_for(host);
        let why = if by_name { "which has the name" } else { "the first: no certificate has the name" };
        let _ = write!(text, "  listener {listener} shows {}, {why}", files.join(" or "));
        let clients = match &server.settings().clients {
            None => "",
            Some(clients) if clients.required => "; clients have to show one",
            Some(_) => "; clients may show one",
        };
        let _ = writeln!(text, "{clients}");
    }
    if snapshot.tls_listeners().next().is_none() {
        text.push_str("  no listener speaks TLS\n");
    }
}
