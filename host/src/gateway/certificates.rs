//! Certificates that are about to end: a line in the log, and a metric to watch.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Shared;
use crate::snapshot::Snapshot;
use crate::telemetry::exposition::{Series, Value};
use crate::telemetry::{self, Level};

/// Looks at the certificates that run twice a day; never ends.
pub(super) async fn watch(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        warn(&shared.current(), SystemTime::now());
    }
}

/// Tells of the certificates that end soon, or have.
pub(super) fn warn(snapshot: &Snapshot, now: SystemTime) {
    for (listener, server) in snapshot.tls_listeners() {
        for expiry in server.expiries() {
            let ends = expiry.end();
            let fields: telemetry::Fields<'_> =
                &[("listener", listener), ("certificate", &expiry.certificate), ("ends", &ends)];
            if expiry.not_after <= now {
                telemetry::log(Level::Error, "a certificate has expired", fields);
            } else if expiry.is_near(now) {
                telemetry::log(Level::Warn, "a certificate expires soon", fields);
            }
        }
    }
}

/// When each certificate ends, for the metrics page.
pub(super) fn series(snapshot: &Snapshot) -> Vec<Series> {
    let of = |listener: &Arc<str>, expiry: crate::tls::Expiry| Series {
        name: "gatewright_tls_certificate_expiry_timestamp_seconds".to_owned(),
        help: "When the certificate ends.".to_owned(),
        labels: vec![("listener".to_owned(), listener.to_string()), ("certificate".to_owned(), expiry.certificate)],
        value: Value::Gauge(expiry.not_after.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())),
    };
    let listeners = snapshot.tls_listeners();
    listeners.flat_map(|(listener, server)| server.expiries().map(move |expiry| of(listener, expiry))).collect()
}

const PERIOD: Duration = Duration::from_secs(12 * 60 * 60);
