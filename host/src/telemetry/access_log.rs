//! The access log: one JSON object per line and accepted request, even if the client left.
//!
//! Operators rely on field names: new ones are added, existing ones never renamed. Empty fields are left out. The data
//! core formats the record into its own buffer; see [`LineWriter`] for the way from there to the disk, and for what
//! happens if the disk is slower than the traffic.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::connection_record::ConnectionRecord;
use super::json_line::JsonLine;
use super::line_writer::{LineWriter, Output};
use super::{Level, log, write_rfc3339};

/// The destination of records. If it is off, it costs a branch per request.
pub struct AccessLog {
    writer: Option<LineWriter>,
    with_query: bool,
}

/// The operator's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub target: Target,
    /// Whether `path` keeps its query. Off by default: queries contain tokens and names.
    pub with_query: bool,
    /// How many bytes may wait to be written, all cores together; default 8 MiB. While the queue is full, records are
    /// dropped and counted.
    pub queue_bytes: usize,
    /// How many threads write records: the data cores. Each gets an equal share of the queue. Default: the number of
    /// the machine's cores.
    pub threads: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        Settings { target: Target::Stdout, with_query: false, queue_bytes: 8 << 20, threads }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Off,
    Stdout,
    Stderr,
    /// Appended to; see [`AccessLog::reopen`] for log rotation.
    File(PathBuf),
}

/// The facts about an exchange at its end, borrowed from it. Empty texts and `None` are left out of the line.
pub struct Record<'a> {
    /// When the request head was complete.
    pub time: SystemTime,
    pub request_id: &'a str,
    /// The client: the peer, or the address that a trusted proxy names.
    pub client: IpAddr,
    /// The other end of the connection.
    pub peer: SocketAddr,
    pub listener: &'a str,
    /// "http/1.0", "http/1.1" or "h2".
    pub protocol: &'a str,
    pub method: &'a str,
    pub scheme: &'a str,
    /// For a connection over TLS.
    pub tls: Option<Tls<'a>>,
    /// As the client sent it, so not always UTF-8.
    pub host: &'a [u8],
    /// Including the query, which the log cuts off unless configured otherwise.
    pub path: &'a str,
    pub user_agent: &'a [u8],
    pub route: &'a str,
    /// The version of the API; empty if the route has none.
    pub version: &'a str,
    /// The client's status; `None` if it left before there was a response head.
    pub status: Option<u16>,
    pub upstream: Option<&'a str>,
    pub endpoint: Option<&'a str>,
    /// How often the request was sent to an endpoint.
    pub attempts: u32,
    /// Body bytes from and to the client, as on the wire but without framing.
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// From the request head to the last byte of the response, or until the client left.
    pub duration: Duration,
    /// From the first attempt to the upstream's response head.
    pub upstream_time: Option<Duration>,
    /// The result of the route's cache: "hit", "miss", "stale", "revalidated" or "bypass".
    pub cache: Option<&'a str>,
    /// The subject that a plugin set.
    pub identity: Option<&'a str>,
    /// The plugin that answered, or whose failure was the answer.
    pub plugin: Option<&'a str>,
    /// What went wrong, in words for the operator.
    pub error: Option<&'a str>,
    /// Attributes set by plugins, by `plugin.<plugin>.<name>`.
    pub attributes: &'a [(Box<str>, Box<str>)],
    pub outcome: Outcome,
}

/// Facts about a connection over TLS.
#[derive(Clone, Copy)]
pub struct Tls<'a> {
    /// "TLSv1.2" or "TLSv1.3".
    pub version: &'a str,
    pub cipher: &'a str,
    /// The name that the client asked for (SNI).
    pub server_name: Option<&'a str>,
    /// The subject of the client's certificate.
    pub client: Option<&'a str>,
}

labels! {
    /// How an exchange ended.
    Outcome {
        /// The last byte of the response was passed to the transport.
        Complete => "complete",
        /// The client closed or reset before that.
        ClientLeft => "client-left",
        /// No upstream responded, or the response broke off.
        UpstreamFailed => "upstream-failed",
        /// The gateway refused the request: its framing, a limit, no route.
        Refused => "refused",
        /// A plugin failed and its route denies in this case, or it ended the exchange.
        PluginFailed => "plugin-failed",
        /// A time limit of the gateway ended it.
        TimedOut => "timed-out",
        /// The gateway shut down and the drain time was over.
        ShutDown => "shut-down",
        /// An internal error of the gateway.
        Internal => "internal-error",
    }
}

impl AccessLog {
    /// Opens the target. Fails if a file cannot be opened for appending.
    pub fn open(settings: Settings) -> io::Result<Self> {
        let Settings { target, with_query, queue_bytes, threads } = settings;
        let output = match target {
            Target::Off => return Ok(AccessLog { writer: None, with_query }),
            Target::Stdout => Output::Stdout,
            Target::Stderr => Output::Stderr,
            Target::File(path) => Output::File(path),
        };
        AccessLog::with_output(output, with_query, queue_bytes, threads)
    }

    /// Whether records are written. If not, callers need not make any.
    pub fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    /// Writes one record. Never waits; see [`AccessLog::dropped`].
    pub fn write(&self, record: &Record<'_>) {
        let Some(writer) = &self.writer else { return };
        writer.write(|line| record.format(line, self.with_query));
    }

    /// The same for a connection at layer 4.
    pub fn write_connection(&self, record: &ConnectionRecord<'_>) {
        let Some(writer) = &self.writer else { return };
        writer.write(|line| record.format(line));
    }

    /// Reopens the file by its path, for log rotation: rename the file, then send SIGHUP.
    pub fn reopen(&self) {
        if let Some(writer) = &self.writer {
            writer.reopen();
        }
    }

    /// Records that the target has taken so far.
    pub fn accepted(&self) -> u64 {
        self.writer.as_ref().map_or(0, LineWriter::accepted)
    }

    /// Records that were dropped because the queue was full, or lost because the target refused them.
    pub fn dropped(&self) -> u64 {
        self.writer.as_ref().map_or(0, LineWriter::dropped)
    }

    /// Writes what is queued, for at most `deadline`; blocks meanwhile. False if some of it is lost.
    pub fn close(&self, deadline: Duration) -> bool {
        self.writer.as_ref().is_none_or(|writer| writer.close(deadline))
    }

    fn with_output(output: Output, with_query: bool, queue_bytes: usize, threads: usize) -> io::Result<Self> {
        let failed = |error: &io::Error| log(Level::Error, "the access log cannot be written", &[("error", error)]);
        let writer = LineWriter::start("access-log", output, queue_bytes, threads, failed)?;
        Ok(AccessLog { writer: Some(writer), with_query })
    }
}

impl Record<'_> {
    fn format(&self, out: &mut Vec<u8>, with_query: bool) {
        let path = if with_query { self.path } else { self.path.split(['?', '#']).next().unwrap_or_default() };
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);

        let mut line = JsonLine::begin(out);
        line.plain("time", |out| write_rfc3339(out, self.time));
        line.text("request_id", self.request_id);
        line.ip("client", self.client);
        line.socket("peer", self.peer);
        text_if_any(&mut line, "listener", self.listener);
        line.text("protocol", self.protocol);
        line.text("method", self.method);
        line.text("scheme", self.scheme);
        if let Some(tls) = self.tls {
            line.text("tls_version", tls.version);
            line.text("tls_cipher", tls.cipher);
            text_if_any(&mut line, "tls_server_name", tls.server_name.unwrap_or_default());
            text_if_any(&mut line, "tls_client", tls.client.unwrap_or_default());
        }
        if !self.host.is_empty() {
            line.bytes("host", self.host);
        }
        line.text("path", path);
        if !self.user_agent.is_empty() {
            line.bytes("user_agent", self.user_agent);
        }
        text_if_any(&mut line, "route", self.route);
        text_if_any(&mut line, "version", self.version);
        if let Some(status) = self.status {
            line.number("status", status.into());
        }
        line.text("outcome", self.outcome.name());
        line.number("duration_us", micros(self.duration));
        line.number("request_bytes", self.request_bytes);
        line.number("response_bytes", self.response_bytes);
        text_if_any(&mut line, "upstream", self.upstream.unwrap_or_default());
        if let Some(endpoint) = self.endpoint {
            line.text("endpoint", endpoint);
        }
        if self.attempts > 0 {
            line.number("attempts", self.attempts.into());
        }
        if let Some(upstream_time) = self.upstream_time {
            line.number("upstream_us", micros(upstream_time));
        }
        text_if_any(&mut line, "cache", self.cache.unwrap_or_default());
        text_if_any(&mut line, "identity", self.identity.unwrap_or_default());
        text_if_any(&mut line, "plugin", self.plugin.unwrap_or_default());
        text_if_any(&mut line, "error", self.error.unwrap_or_default());
        if !self.attributes.is_empty() {
            line.texts("attributes", self.attributes.iter().map(|(name, value)| (&**name, &**value)));
        }
        line.end();
    }
}

fn text_if_any(line: &mut JsonLine<'_>, key: &'static str, value: &str) {
    if !value.is_empty() {
        line.text(key, value);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::time::UNIX_EPOCH;

    fn record() -> Record<'static> {
        Record {
            time: UNIX_EPOCH + Duration::from_micros(1_234_567_890_123_456),
            request_id: "00112233445566778899aabbccddeeff",
            client: "203.0.113.9".parse().unwrap(),
            peer: "10.1.2.3:40000".parse().unwrap(),
            listener: ":8080",
            protocol: "http/1.1",
            method: "GET",
            scheme: "http",
            tls: None,
            host: b"api.example.com",
            path: "/orders/7?token=hush",
            user_agent: b"curl/8.5.0",
            route: "orders",
            version: "v2",
            status: Some(200),
            upstream: Some("orders"),
            endpoint: Some("10.0.0.3:80"),
            attempts: 1,
            request_bytes: 0,
            response_bytes: 512,
            duration: Duration::from_micros(1500),
            upstream_time: Some(Duration::from_micros(1200)),
            cache: Some("miss"),
            identity: Some("alice"),
            plugin: None,
            error: None,
            attributes: &[],
            outcome: Outcome::Complete,
        }
    }

    fn parsed(record: &Record<'_>, with_query: bool) -> Value {
        let mut out = Vec::new();
        record.format(&mut out, with_query);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_whole_record() {
        assert_eq!(
            parsed(&record(), false),
            json!({
                "time": "2009-02-13T23:31:30.123456Z",
                "request_id": "00112233445566778899aabbccddeeff",
                "client": "203.0.113.9",
                "peer": "10.1.2.3:40000",
                "listener": ":8080",
                "protocol": "http/1.1",
                "method": "GET",
                "scheme": "http",
                "host": "api.example.com",
                "path": "/orders/7",
                "user_agent": "curl/8.5.0",
                "route": "orders",
                "version": "v2",
                "status": 200,
                "outcome": "complete",
                "duration_us": 1500,
                "request_bytes": 0,
                "response_bytes": 512,
                "upstream": "orders",
                "endpoint": "10.0.0.3:80",
                "attempts": 1,
                "upstream_us": 1200,
                "cache": "miss",
                "identity": "alice",
            })
        );
        assert_eq!(parsed(&record(), true)["path"], "/orders/7?token=hush");
    }

    #[test]
    fn a_client_that_left_before_an_answer() {
        let record = Record {
            status: None,
            route: "",
            version: "",
            upstream: None,
            endpoint: None,
            attempts: 0,
            upstream_time: None,
            cache: None,
            identity: None,
            user_agent: b"",
            host: b"",
            outcome: Outcome::ClientLeft,
            ..record()
        };
        let value = parsed(&record, false);
        assert_eq!(value["outcome"], "client-left");
        for absent in ["status", "route", "upstream", "endpoint", "attempts", "upstream_us", "user_agent", "host"] {
            assert!(value.get(absent).is_none(), "{absent} is there");
        }
        assert!(value.get("cache").is_none(), "{value}");
    }

    #[test]
    fn hostile_texts_stay_inside_their_fields() {
        let nasty = "\"},\n{\"status\":200,\u{0}\u{1b}[2J\\";
        let attributes = [("plugin.geo.\"x\"\n".into(), nasty.into())];
        let record = Record {
            host: b"\xff\xfe\"\r\n",
            user_agent: b"\x80\x00",
            path: "/a\"b\\c#d",
            identity: Some(nasty),
            error: Some(nasty),
            plugin: Some("geo"),
            attributes: &attributes,
            status: Some(500),
            outcome: Outcome::PluginFailed,
            ..record()
        };
        let value = parsed(&record, false);
        assert_eq!(value["host"], "\u{fffd}\u{fffd}\"\r\n");
        assert_eq!(value["path"], "/a\"b\\c");
        assert_eq!(value["identity"], nasty);
        assert_eq!(value["attributes"]["plugin.geo.\"x\"\n"], nasty);
        assert_eq!(value["status"], 500);
    }

    #[test]
    fn every_record_comes_out_whole_under_concurrency() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let settings = Settings { target: Target::File(path.clone()), queue_bytes: 64 << 20, ..Settings::default() };
        let log = AccessLog::open(settings).unwrap();
        assert!(log.is_on());
        std::thread::scope(|scope| {
            for worker in 0..4_u16 {
                let log = &log;
                scope.spawn(move || {
                    for number in 0..2_500 {
                        let id = format!("{worker}-{number}");
                        log.write(&Record { request_id: &id, status: Some(worker), ..record() });
                    }
                });
            }
        });
        assert!(log.close(Duration::from_secs(20)));
        assert_eq!((log.accepted(), log.dropped()), (10_000, 0));

        let text = std::fs::read_to_string(path).unwrap();
        let mut ids = std::collections::BTreeSet::new();
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            let id = value["request_id"].as_str().unwrap().to_owned();
            assert!(id.starts_with(&format!("{}-", value["status"])));
            assert!(ids.insert(id));
        }
        assert_eq!(ids.len(), 10_000);
    }

    #[test]
    fn off_takes_nothing() {
        let log = AccessLog::open(Settings { target: Target::Off, ..Settings::default() }).unwrap();
        log.write(&record());
        log.reopen();
        assert!(!log.is_on() && log.close(Duration::ZERO));
        assert_eq!((log.accepted(), log.dropped()), (0, 0));
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { target: Target::File(folder.path().join("no/such")), ..Settings::default() };
        assert_eq!(AccessLog::open(settings).err().unwrap().kind(), io::ErrorKind::NotFound);
    }
}
