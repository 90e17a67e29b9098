//! What is recorded about a connection or session while it lasts: its log record and its counts.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::relay::{End, Side};
use super::{Ends, Forward};
use crate::telemetry::{AccessLog, ConnectionRecord, Outcome};
use crate::upstream::Facts;

/// Writes the record when dropped: one for each connection and session, however it ends.
pub(super) struct Record {
    access_log: Arc<AccessLog>,
    forward: Arc<Forward>,
    protocol: &'static str,
    ends: Ends,
    started: Instant,
    pub server_name: Option<Box<str>>,
    pub upstream: Option<Arc<str>>,
    pub facts: Facts,
    received: u64,
    sent: u64,
    outcome: Outcome,
    closed_by: Option<&'static str>,
    error: Option<String>,
}

impl Record {
    pub fn begin(access_log: Arc<AccessLog>, forward: Arc<Forward>, protocol: &'static str, ends: Ends) -> Self {
        Record {
            access_log,
            forward,
            protocol,
            ends,
            started: Instant::now(),
            server_name: None,
            upstream: None,
            facts: Facts::default(),
            received: 0,
            sent: 0,
            // Unless set otherwise, the gateway ended without waiting any longer.
            outcome: Outcome::ShutDown,
            closed_by: None,
            error: None,
        }
    }

    pub fn ends(&self) -> Ends {
        self.ends
    }

    /// Counts bytes from and to the client.
    pub fn moved(&mut self, received: u64, sent: u64) {
        self.received += received;
        self.sent += sent;
        self.forward.metrics.moved(received, sent);
    }

    /// Sets the number of bytes from the client, counted elsewhere.
    pub fn received(&mut self, bytes: u64) {
        self.received = bytes;
    }

    pub fn failed(&mut self, outcome: Outcome, error: String) {
        self.outcome = outcome;
        self.error = Some(error);
    }

    pub fn ended(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    /// Records how a relay ended.
    pub fn relayed(&mut self, end: &End) {
        let name = |side: &Side| if *side == Side::Client { "client" } else { "upstream" };
        match end {
            End::Closed(side) => {
                self.outcome = Outcome::Complete;
                self.closed_by = Some(name(side));
            }
            End::Broken(side, error) => {
                let outcome = if *side == Side::Client { Outcome::ClientLeft } else { Outcome::UpstreamFailed };
                self.closed_by = Some(name(side));
                self.failed(outcome, error.to_string());
            }
            End::Idle => self.failed(Outcome::TimedOut, idle(self.forward.idle_timeout)),
        }
    }
}

fn idle(time: Duration) -> String {
    format!("nothing moved for {time:?}")
}

impl Drop for Record {
    fn drop(&mut self) {
        self.forward.metrics.ended(self.outcome);
        if !self.access_log.is_on() {
            return;
        }
        let duration = self.started.elapsed();
        self.access_log.write_connection(&ConnectionRecord {
            time: SystemTime::now().checked_sub(duration).unwrap_or(SystemTime::UNIX_EPOCH),
            client: self.ends.client,
            peer: self.ends.peer,
            listener: &self.forward.listener,
            protocol: self.protocol,
            server_name: self.server_name.as_deref(),
            upstream: self.upstream.as_deref(),
            endpoint: self.facts.endpoint.as_deref(),
            attempts: self.facts.attempts,
            received_bytes: self.received,
            sent_bytes: self.sent,
            duration,
            connect_time: self.facts.connect_time,
            outcome: self.outcome,
            closed_by: self.closed_by,
            error: self.error.as_deref(),
        });
    }
}
