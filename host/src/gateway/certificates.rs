//! Certificates that are about to expire: a line in the log, and a metric to watch.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Shared;
use crate::snapshot::Snapshot;
use crate::telemetry::exposition::{Series, Value};
use crate::telemetry::{self, Level};
use crate::tls::Expiry;

/// Checks the running certificates twice a day; never ends.
pub(super) async fn watch(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        warn(&shared.current(), SystemTime::now());
    }
}

/// Warns of certificates that expire soon or have expired.
pub(super) fn warn(snapshot: &Snapshot, now: SystemTime) {
    for (side, name, expiry) in all(snapshot) {
        let ends = expiry.end();
        let fields: telemetry::Fields<'_> = &[(side, &name), ("certificate", &expiry.certificate), ("ends", &ends)];
        if expiry.not_after <= now {
            telemetry::log(Level::Error, "a certificate has expired", fields);
        } else if expiry.is_near(now) {
            telemetry::log(Level::Warn, "a certificate expires soon", fields);
        }
    }
}

/// The certificates shown to clients and to servers: the kind of owner, its name, and the expiry.
fn all(snapshot: &Snapshot) -> Vec<(&'static str, Arc<str>, Expiry)> {
    let to_clients = snapshot
        .tls_listeners()
        .flat_map(|(listener, server)| server.expiries().map(move |expiry| ("listener", listener.clone(), expiry)));
    let to_servers = snapshot.upstreams().filter_map(|upstream| {
        let expiry = upstream.settings().transport.tls.as_ref()?.expiry()?;
        Some(("upstream", upstream.name().clone(), expiry))
    });
    to_clients.chain(to_servers).collect()
}

/// The expiry of each certificate, for the metrics page.
pub(super) fn series(snapshot: &Snapshot) -> Vec<Series> {
    let series = |(side, name, expiry): (&str, Arc<str>, Expiry)| {
        let ends = Value::Gauge(expiry.not_after.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()));
        let labels = [(side, &*name), ("certificate", &*expiry.certificate)];
        Series::new("gatewright_tls_certificate_expiry_timestamp_seconds", "When the certificate ends.", labels, ends)
    };
    all(snapshot).into_iter().map(series).collect()
}

const PERIOD: Duration = Duration::from_secs(12 * 60 * 60);
