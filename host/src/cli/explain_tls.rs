//! `explain` for what happens before a request is routed: which certificate its client is shown, or that it is sent to
//! https.

use std::fmt::Write;

use http::Uri;
use http::uri::Scheme;

use crate::snapshot::Snapshot;

/// Describes what the listeners do for an address; nothing where it is only a path.
pub(super) fn describe(text: &mut String, snapshot: &Snapshot, uri: &Uri) {
    let Some(host) = uri.host() else { return };
    if uri.scheme() == Some(&Scheme::HTTPS) {
        certificates(text, snapshot, host.trim_matches(['[', ']']));
    }
    for (listener, https) in snapshot.https_listeners() {
        let is_secure = snapshot.tls(listener).is_some();
        if is_secure == (uri.scheme() == Some(&Scheme::HTTPS)) {
            let _ = writeln!(text, "  listener {listener} {https}");
        }
    }
}

fn certificates(text: &mut String, snapshot: &Snapshot, host: &str) {
    let mut has_tls = false;
    for (listener, server) in snapshot.tls_listeners() {
        has_tls = true;
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
    if !has_tls {
        text.push_str("  no listener speaks TLS\n");
    }
}
