//! The end of an exchange: its record and its counts.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use crate::capability::metrics::{self, Sample};
use crate::drain::Asked;
use crate::exchange::{self, Parts};
use crate::snapshot::Snapshot;
use crate::telemetry::exposition::{self, Series};
use crate::telemetry::metrics::{Metrics, RouteMetrics};
use crate::telemetry::{AccessLog, Outcome, Record, access_log};

/// Writes the access log and counts the requests of one listener, for the lifetime of one access log.
pub(super) struct Observer {
    pub access_log: Arc<AccessLog>,
    /// For requests that match no route.
    pub no_route: Arc<RouteMetrics>,
    pub metrics: Arc<Metrics>,
    /// Whether the drain timeout of the gateway has passed, so that exchanges are now ended by the gateway and not by
    /// the client.
    pub is_cut: Arc<AtomicBool>,
    /// The same for the listener.
    pub drain: Asked,
}

impl exchange::Observer for Observer {
    fn started(&self) {
        self.metrics.server.request_started();
    }

    fn ended(&self, exchange: &mut Parts) {
        let duration = exchange.started.elapsed();
        let status = exchange.response.status.map(|status| status.as_u16());
        let outcome = &exchange.outcome;
        let route = exchange.route.as_ref();
        route.and_then(|route| route.metrics.as_ref()).unwrap_or(&self.no_route).record(
            &exchange.received.method,
            // 499 stands for a client that disconnected before it was answered.
            status.unwrap_or(499),
            duration,
            outcome.request_bytes(),
            outcome.response_bytes,
        );
        self.metrics.server.request_ended();
        if !self.access_log.is_on() {
            return;
        }
        let received = &exchange.received;
        self.access_log.write(&Record {
            time: SystemTime::now().checked_sub(duration).unwrap_or(SystemTime::UNIX_EPOCH),
            request_id: exchange.id(),
            client: exchange.source.client,
            peer: exchange.source.peer,
            listener: &exchange.source.listener,
            protocol: exchange.source.protocol,
            method: received.method.as_str(),
            scheme: exchange.request.scheme.as_str(),
            tls: exchange.source.tls.as_deref().map(|tls| access_log::Tls {
                version: tls.version,
                cipher: tls.cipher,
                server_name: tls.server_name.as_deref(),
                client: tls.client.as_ref().map(|client| client.subject.as_str()),
            }),
            host: received.host.as_ref().map_or(&[], |host| host.as_bytes()),
            path: received.target.as_str(),
            user_agent: received.user_agent.as_ref().map_or(&[], |agent| agent.as_bytes()),
            route: route.map_or("", |route| &route.name),
            version: exchange.version.as_ref().map_or("", |version| &version.name),
            status,
            upstream: outcome.upstream.as_deref(),
            endpoint: outcome.endpoint.as_deref(),
            attempts: outcome.attempts,
            request_bytes: outcome.request_bytes(),
            response_bytes: outcome.response_bytes,
            duration,
            upstream_time: outcome.upstream_time,
            cache: outcome.cache,
            identity: exchange.identity.as_ref().map(|caller| caller.subject.as_str()),
            plugin: outcome.answered_by.as_deref(),
            error: outcome.error.as_deref(),
            attributes: &exchange.attributes,
            outcome: how(outcome, self.drain.is_over() || self.is_cut.load(Relaxed)),
        });
    }
}

/// How the exchange ended, in one word. The first failure counts: a client that leaves an error unread did not cause
/// it.
fn how(outcome: &exchange::Outcome, is_cut: bool) -> Outcome {
    use exchange::Fault;
    match outcome.fault {
        Some(Fault::Request) => Outcome::Refused,
        Some(Fault::Upstream) => Outcome::UpstreamFailed,
        Some(Fault::TimedOut) => Outcome::TimedOut,
        Some(Fault::Plugin) => Outcome::PluginFailed,
        Some(Fault::ShutDown) => Outcome::ShutDown,
        None if outcome.complete => Outcome::Complete,
        None | Some(Fault::ClientLeft) if is_cut => Outcome::ShutDown,
        None | Some(Fault::ClientLeft) => Outcome::ClientLeft,
    }
}

/// The metrics that plugins write, for the metrics page. A plugin with several configurations counts in each of them;
/// the page shows the sum.
pub(super) fn plugin_series(snapshot: &Snapshot) -> Vec<Series> {
    let mut all = BTreeMap::<_, Series>::new();
    for plugin in snapshot.plugins() {
        plugin.lent().abilities.metrics.for_each(|sample| {
            let one = series(plugin.name(), &sample);
            match all.entry((one.name.clone(), one.labels.clone())) {
                Entry::Occupied(mut same) => same.get_mut().value.add(&one.value),
                Entry::Vacant(place) => drop(place.insert(one)),
            }
        });
    }
    all.into_values().collect()
}

/// A series written by a plugin.
fn series(plugin: &str, sample: &Sample<'_>) -> Series {
    let own = sample.metric.labels.iter().zip(sample.label_values);
    let own = own.map(|(name, value)| (name.clone(), value.clone()));
    Series {
        name: format!("plugin_{}_{}", plugin.replace('-', "_"), sample.metric.name),
        help: sample.metric.help.clone(),
        labels: own.collect(),
        value: match &sample.value {
            metrics::Value::Counter(count) => exposition::Value::Counter(*count),
            metrics::Value::Gauge(value) => exposition::Value::Gauge(*value),
            metrics::Value::Histogram { buckets, sum, count } => {
                // The buckets are cumulative there and not here, where the last one holds everything above the bounds.
                let below = std::iter::once(0).chain(buckets.iter().map(|(_, up_to)| *up_to));
                let up_to = buckets.iter().map(|(_, up_to)| *up_to).chain([*count]);
                exposition::Value::Histogram {
                    bounds: buckets.iter().map(|(bound, _)| *bound).collect(),
                    counts: below.zip(up_to).map(|(below, up_to)| up_to.saturating_sub(below)).collect(),
                    sum: *sum,
                }
            }
        },
    }
}
