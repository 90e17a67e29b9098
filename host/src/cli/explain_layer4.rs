//! `explain` for layer 4: a listener's connections or datagrams, a TLS server name.

use std::fmt::Write;

use super::amounts::time;
use crate::gateway::Error;
use crate::l4::{Forward, Route, Targets};
use crate::snapshot::{Rules, Snapshot};

/// Describes where a listener forwards to, or which listener takes a server name; `None` if it is about a request. HTTP
/// methods are in capitals, so these words are never methods.
pub(super) fn explain(snapshot: &Snapshot, what: &str, name: &str) -> Option<Result<String, Error>> {
    let text = match what {
        "tcp" | "udp" => listener(snapshot, name),
        "tls" => server_name(snapshot, name),
        _ => return None,
    };
    Some(text.ok_or_else(|| Error::System(format!("no listener forwards {what} for {name:?}"))))
}

fn listener(snapshot: &Snapshot, name: &str) -> Option<String> {
    let (_, rules) = snapshot.rules().find(|(known, _)| ***known == *name)?;
    let forward = rules.forward.as_ref()?;
    let mut text = format!("listener {name}\n");
    match &forward.route {
        Route::To(targets) => describe(&mut text, targets),
        Route::ServerName(_) => text.push_str("  by server name: see `explain tls SERVER-NAME`\n"),
    }
    bounds(&mut text, forward, rules);
    Some(text)
}

fn server_name(snapshot: &Snapshot, name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let mut text = String::new();
    for (listener, rules) in snapshot.rules() {
        let Some(forward) = &rules.forward else { continue };
        let Route::ServerName(names) = &forward.route else { continue };
        let _ = writeln!(text, "listener {listener}, server name {name}");
        match names.find(Some(&name)) {
            Some(targets) => describe(&mut text, targets),
            None => text.push_str("  no entry takes it: refused with the alert unrecognized_name\n"),
        }
        bounds(&mut text, forward, rules);
    }
    (!text.is_empty()).then_some(text)
}

fn describe(text: &mut String, targets: &Targets) {
    text.push_str("  to:\n");
    for (upstream, weight) in targets.iter() {
        let settings = upstream.settings();
        let endpoints: Vec<String> =
            upstream.endpoints().iter().map(|endpoint| endpoint.address().to_string()).collect();
        let timeout = time(settings.transport.connect_timeout);
        let name = upstream.name();
        let _ = write!(text, "    {name} (weight {weight}): {}; connect within {timeout}", endpoints.join(", "));
        match settings.transport.proxy_protocol {
            Some(version) => drop(writeln!(text, ", with a header of the PROXY protocol ({})", version.name())),
            None => text.push('\n'),
        }
    }
}

fn bounds(text: &mut String, forward: &Forward, rules: &Rules) {
    for (what, networks) in rules.gate.iter().flat_map(|gate| [("only from", &gate.allow), ("not from", &gate.deny)]) {
        if !networks.is_empty() {
            let _ = writeln!(text, "  {what} {networks}");
        }
    }
    let _ = writeln!(text, "  ends when nothing moves for {}", time(forward.idle_timeout));
    if let Some(limit) = rules.max_connections {
        let _ = writeln!(text, "  at most {limit} at a time");
    }
}
