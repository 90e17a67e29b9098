//! What the operator's log says of the health of endpoints: the real binary, its standard error.

#![allow(clippy::expect_used, clippy::unwrap_used)] // a test fails by panicking

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde_json::{Value, json};

/// The lines of the log, each found once.
struct Log {
    lines: BufReader<ChildStderr>,
    read: Vec<Value>,
}

impl Log {
    fn find(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(at) = self.read.iter().position(&wanted) {
                return self.read.remove(at);
            }
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "the log has ended: {:#?}", self.read);
            self.read.push(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")));
        }
    }
}

/// Killed at the end of the test, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_change_is_logged_with_its_reason() {
    let well = Arc::new(AtomicBool::new(false));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let probed = listener.local_addr().unwrap().to_string();
    let answer = well.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let status = if answer.load(SeqCst) { "200 OK" } else { "503 Service Unavailable" };
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.json");
    let config = json!({
        "listeners": ["127.0.0.1:0"],
        "access_log": "off",
        "upstreams": {
            "probed": { "endpoints": [probed], "health": { "path": "/healthz", "interval": "300ms" } },
            "asked": { "endpoints": [refusing, "127.0.0.1:1"], "ejection": { "time": "100ms", "consecutive": 1 } },
        },
        "routes": [{ "match": { "path": "/*" }, "to": "asked" }],
    });
    std::fs::write(&path, config.to_string()).unwrap();
    let mut child = Running(
        Command::new(env!("CARGO_BIN_EXE_gatewright"))
            .args(["run", path.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut log = Log { lines: BufReader::new(child.0.stderr.take().unwrap()), read: Vec::new() };
    let listening = log.find(|line| line["message"] == "listening");
    let address = listening["address"].as_str().unwrap().to_owned();
    let mut change = |upstream: &str| {
        log.find(|line| line["message"] == "an endpoint's health changed" && line["upstream"] == upstream)
    };
    let check = |line: &Value, level: &str, upstream: &str, from: &str, to: &str, reason: &str| {
        let expected = [level, upstream, from, to, reason];
        assert_eq!(["level", "upstream", "from", "to", "reason"].map(|field| line[field].as_str().unwrap()), expected);
    };
    let line = change("probed");
    check(&line, "warn", "probed", "healthy", "unhealthy", "probe GET /healthz: the status is 503");
    well.store(true, SeqCst);
    check(&change("probed"), "info", "probed", "unhealthy", "healthy", "its probes pass");

    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    let line = change("asked");
    check(&line, "warn", "asked", "healthy", "ejected", "1 failures in a row, the last one no connection");
    check(&change("asked"), "info", "asked", "ejected", "healthy", "the ejection is over");
}
