//! Resolves the names of upstreams' endpoints, repeatedly, and passes the results to the upstreams.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::AbortHandle;

use super::control::Spawn;
use crate::discovery::{Answer, Query, Resolver, Schedule, Settings};
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::{Metrics, UpstreamEvent};
use crate::telemetry::{self, Level};
use crate::upstream::Upstream;

/// One task for each name of each upstream.
#[derive(Default)]
pub(super) struct Discovery {
    running: HashMap<(usize, Query), AbortHandle>,
    resolver: Option<Arc<Resolver>>,
}

impl Discovery {
    /// Starts the tasks that the snapshot needs and that are missing, and ends the others.
    pub fn follow(&mut self, snapshot: &Snapshot, metrics: &Metrics, control: &impl Spawn) {
        let mut before = std::mem::take(&mut self.running);
        let names = || snapshot.upstreams().flat_map(|upstream| upstream.queries().map(move |query| (upstream, query)));
        if names().next().is_some() && !self.follow_settings(&snapshot.resolver) {
            before.drain().for_each(|(_, task)| task.abort());
        }
        if let Some(resolver) = &self.resolver {
            for (upstream, query) in names() {
                let key = (Arc::as_ptr(upstream) as usize, query.clone());
                let start = || {
                    let metrics = metrics.upstream(upstream.name());
                    let event = move |event| metrics.event(event);
                    control.spawn(follow(upstream.clone(), query.clone(), resolver.clone(), event))
                };
                let task = before.remove(&key).unwrap_or_else(start);
                self.running.insert(key, task);
            }
        }
        before.into_values().for_each(|task| task.abort());
    }

    /// Provides a resolver for these settings. False if it replaced another one.
    fn follow_settings(&mut self, settings: &Settings) -> bool {
        if self.resolver.as_ref().is_some_and(|resolver| resolver.settings() == settings) {
            return true;
        }
        match Resolver::new(settings.clone()) {
            Ok(resolver) => {
                self.resolver = Some(Arc::new(resolver));
                false
            }
            // The system's file may be missing for a moment; the next change tries again.
            Err(error) if self.resolver.is_some() => {
                telemetry::log(Level::Error, "names are asked for as before", &[("error", &error)]);
                true
            }
            Err(error) => {
                telemetry::log(Level::Error, "names are not asked for", &[("error", &error)]);
                false
            }
        }
    }

    /// Ends all tasks.
    pub fn stop(&mut self) {
        self.running.drain().for_each(|(_, task)| task.abort());
    }
}

/// Resolves one name until the task is ended.
async fn follow(upstream: Arc<Upstream>, query: Query, resolver: Arc<Resolver>, count: impl Fn(UpstreamEvent)) {
    let started = Instant::now();
    let mut schedule = Schedule::new(upstream.found(&query).unwrap_or_default());
    let mut before = State::Resolved;
    loop {
        let answer = resolver.resolve(&query).await;
        let step = schedule.step(answer.as_ref(), resolver.settings(), started.elapsed(), fastrand::u64(..));
        let state = State::of(&answer);
        count(if state == State::Resolved { UpstreamEvent::NameResolved } else { UpstreamEvent::NameFailed });
        match &answer {
            _ if state == before => {}
            Err(error) => {
                let message = "a name is not resolved; its last endpoints stay";
                let fields: telemetry::Fields<'_> =
                    &[("upstream", upstream.name()), ("name", &query), ("error", error)];
                telemetry::log(Level::Warn, message, fields);
            }
            Ok(_) if state == State::Empty => {
                let message = "a name has no addresses; its last endpoints stay for the hold time";
                let hold = format!("{:?}", resolver.settings().hold);
                let fields: telemetry::Fields<'_> = &[("upstream", upstream.name()), ("name", &query), ("hold", &hold)];
                telemetry::log(Level::Warn, message, fields);
            }
            Ok(_) => {
                let fields: telemetry::Fields<'_> = &[("upstream", upstream.name()), ("name", &query)];
                telemetry::log(Level::Info, "a name is resolved again", fields);
            }
        }
        before = state;
        if let Some(found) = step.change {
            let addresses: Vec<String> = found.iter().map(|found| found.address.to_string()).collect();
            let addresses = addresses.join(" ");
            let level = if found.is_empty() { Level::Warn } else { Level::Info };
            let fields: telemetry::Fields<'_> =
                &[("upstream", upstream.name()), ("name", &query), ("endpoints", &addresses)];
            telemetry::log(level, "a name stands for other endpoints", fields);
            upstream.discovered([(query.clone(), found)]);
        }
        tokio::time::sleep(step.wait).await;
    }
}

/// What is known about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Resolved,
    /// It has no addresses.
    Empty,
    Failing,
}

impl State {
    fn of<E>(answer: &Result<Answer, E>) -> State {
        match answer {
            Ok(answer) if answer.found.is_empty() => State::Empty,
            Ok(_) => State::Resolved,
            Err(_) => State::Failing,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn settings(system: Option<&str>) -> Settings {
        Settings {
            servers: Vec::new(),
            system: system.map(|text| text.as_bytes().to_vec()),
            timeout: Duration::from_secs(1),
            min_ttl: Duration::ZERO,
            max_ttl: Duration::MAX,
            hold: Duration::ZERO,
            hosts: "/etc/hosts".into(),
        }
    }

    #[tokio::test]
    async fn another_text_of_the_system_makes_another_resolver() {
        let (old, new) = (settings(Some("nameserver 192.0.2.1\n")), settings(Some("nameserver 192.0.2.2\n")));
        let mut discovery = Discovery::default();
        assert!(!discovery.follow_settings(&settings(None)) && discovery.resolver.is_none());
        assert!(!discovery.follow_settings(&old));
        assert!(discovery.follow_settings(&old), "the same");
        assert!(!discovery.follow_settings(&new), "another");
        for broken in [settings(None), settings(Some("# nobody\n"))] {
            assert!(discovery.follow_settings(&broken), "as before");
            assert_eq!(discovery.resolver.as_ref().unwrap().settings(), &new);
        }
    }
}
