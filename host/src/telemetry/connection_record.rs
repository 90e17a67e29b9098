//! The access-log record of a connection that was forwarded at layer 4, or of the session of a UDP client.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use super::access_log::Outcome;
use super::json_line::JsonLine;
use super::write_rfc3339;

/// The facts at the end, borrowed. Empty texts and `None` are left out of the line.
pub struct ConnectionRecord<'a> {
    /// When it was accepted.
    pub time: SystemTime,
    /// The client: the peer, or the address that a header of the PROXY protocol names.
    pub client: SocketAddr,
    /// The other end of the connection.
    pub peer: SocketAddr,
    pub listener: &'a str,
    /// "tcp", "tls" or "udp".
    pub protocol: &'static str,
    /// The server name that the client asked for.
    pub server_name: Option<&'a str>,
    pub upstream: Option<&'a str>,
    pub endpoint: Option<&'a str>,
    /// How many endpoints were tried.
    pub attempts: u32,
    /// Bytes from and to the client.
    pub received_bytes: u64,
    pub sent_bytes: u64,
    pub duration: Duration,
    /// How long connecting to the endpoint took.
    pub connect_time: Option<Duration>,
    pub outcome: Outcome,
    /// Who ended the stream first: "client" or "upstream".
    pub closed_by: Option<&'static str>,
    /// What went wrong, in words for the operator.
    pub error: Option<&'a str>,
}

impl ConnectionRecord<'_> {
    pub(super) fn format(&self, out: &mut Vec<u8>) {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let mut line = JsonLine::begin(out);
        line.plain("time", |out| write_rfc3339(out, self.time));
        line.ip("client", self.client.ip().to_canonical());
        line.socket("peer", self.peer);
        line.text("listener", self.listener);
        line.text("protocol", self.protocol);
        if let Some(name) = self.server_name {
            line.text("server_name", name);
        }
        line.text("outcome", self.outcome.name());
        if let Some(side) = self.closed_by {
            line.text("closed_by", side);
        }
        line.number("duration_us", micros(self.duration));
        line.number("received_bytes", self.received_bytes);
        line.number("sent_bytes", self.sent_bytes);
        if let Some(upstream) = self.upstream {
            line.text("upstream", upstream);
        }
        if let Some(endpoint) = self.endpoint {
            line.text("endpoint", endpoint);
        }
        if self.attempts > 0 {
            line.number("attempts", self.attempts.into());
        }
        if let Some(connect_time) = self.connect_time {
            line.number("connect_us", micros(connect_time));
        }
        if let Some(error) = self.error {
            line.text("error", error);
        }
        line.end();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::time::UNIX_EPOCH;

    fn parsed(record: &ConnectionRecord<'_>) -> Value {
        let mut out = Vec::new();
        record.format(&mut out);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_whole_record_and_a_short_one() {
        let whole = ConnectionRecord {
            time: UNIX_EPOCH,
            client: "203.0.113.9:50000".parse().unwrap(),
            peer: "10.0.0.1:40000".parse().unwrap(),
            listener: "db",
            protocol: "tls",
            server_name: Some("db.example.com"),
            upstream: Some("db"),
            endpoint: Some("10.0.0.3:5432"),
            attempts: 2,
            received_bytes: 7,
            sent_bytes: 9,
            duration: Duration::from_millis(3),
            connect_time: Some(Duration::from_micros(80)),
            outcome: Outcome::Complete,
            closed_by: Some("client"),
            error: Some("\"\n"),
        };
        let expected = json!({
            "time": "1970-01-01T00:00:00.000000Z", "client": "203.0.113.9", "peer": "10.0.0.1:40000",
            "listener": "db", "protocol": "tls", "server_name": "db.example.com", "outcome": "complete",
            "closed_by": "client", "duration_us": 3000, "received_bytes": 7, "sent_bytes": 9, "upstream": "db",
            "endpoint": "10.0.0.3:5432", "attempts": 2, "connect_us": 80, "error": "\"\n",
        });
        assert_eq!(parsed(&whole), expected);
        let short = ConnectionRecord {
            server_name: None,
            upstream: None,
            endpoint: None,
            attempts: 0,
            connect_time: None,
            outcome: Outcome::Refused,
            closed_by: None,
            error: None,
            ..whole
        };
        let value = parsed(&short);
        for absent in ["server_name", "upstream", "endpoint", "attempts", "connect_us", "closed_by", "error"] {
            assert!(value.get(absent).is_none(), "{absent} is there");
        }
    }
}
