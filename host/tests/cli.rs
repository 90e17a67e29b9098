//! The command line as a person uses it: the real binary, its output, its exit status, its signals.

#![allow(clippy::expect_used, clippy::unwrap_used)] // a test fails by panicking

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const GOOD: &str = r#"{
  "listeners": ["127.0.0.1:0"],
  "routes": [{ "match": { "path": "/a/*" }, "plugins": ["echo"] }]
}"#;

const BAD: &str = r#"{
  "listeners": ["127.0.0.1:0"],
  "routes": [
    { "match": { "path": "/a" }, "to": "oders" },
    { "match": { "path": "b" }, "pluginz": ["echo"] }
  ],
  "upstreams": { "orders": ["127.0.0.1:1"] }
}"#;

#[test]
fn check_says_that_a_good_file_is_good() {
    let file = File::new(GOOD);
    let output = gatewright(&["check", file.path()]);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("good (1 listeners, 1 routes, 0 upstreams, 1 plugins)"), "{output:?}");
}

#[test]
fn check_reports_every_mistake_with_its_place() {
    let file = File::new(BAD);
    let output = gatewright(&["check", file.path()]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    for expected in
        ["gateway.json:4:", "did you mean \"orders\"?", "gateway.json:5:", "did you mean \"plugins\"?", "begins with"]
    {
        assert!(said.contains(expected), "{expected:?} is not in\n{said}");
    }
    for command in [&["check"][..], &["run"], &["explain", "GET", "/", "--config"], &["plugin", "lock"]] {
        let said = text(&gatewright(&[command, &[file.path()]].concat()).stderr);
        assert!(said.starts_with("error: there is no upstream"), "{command:?}: {said}");
        assert!(said.ends_with("errors\n"), "{command:?}: {said:?}");
    }
    let output = gatewright(&["check", "--format", "json", file.path()]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["errors"].as_array().unwrap().len() >= 3, "{report}");
    assert_eq!(report["errors"][0]["line"], 4, "{report}");
}

#[test]
fn check_warns_of_a_compile_cache_that_cannot_be_used() {
    let file = File::new(&GOOD.replacen('{', r#"{ "compile_cache": { "directory": "/proc/nope" },"#, 1));
    let output = gatewright(&["check", file.path()]);
    assert!(output.status.success(), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.contains("the compile cache cannot be used") && said.contains("/proc/nope"), "{said}");
    assert!(said.contains("the directory cannot be made"), "{said}");
    let file = File::new(&GOOD.replacen('{', r#"{ "compile_cache": { "directory": "compiled" },"#, 1));
    let said = text(&gatewright(&["check", file.path()]).stderr);
    assert!(!said.contains("the compile cache cannot be used"), "one that can be: {said}");
}

#[test]
fn a_refusal_of_a_plugin_points_into_its_configuration() {
    let file = File::new(
        r#"{ "listeners": [":0"], "routes": [
            { "match": {}, "plugins": [{ "cors": { "origins": ["https://a.test", "example.com"] } }, "echo"] },
        ] }"#,
    );
    let output = gatewright(&["check", "--format", "json", file.path()]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let error = &report["errors"][0];
    assert!(error["message"].as_str().unwrap().contains("refused the configuration: origins[1]: "), "{report}");
    assert_eq!(error["pointer"], "/routes/0/plugins/0/cors/origins/1", "{report}");
}

#[test]
fn a_file_that_is_not_there_is_a_clear_error() {
    for command in ["check", "run"] {
        let output = gatewright(&[command, "/no/such/gateway.json"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("/no/such/gateway.json"), "{output:?}");
    }
}

#[test]
fn explain_tells_the_route_and_why_others_lost() {
    let file = File::new(GOOD);
    let output = gatewright(&["explain", "--config", file.path(), "GET", "/a/b"]);
    let said = text(&output.stdout);
    assert!(said.contains("route route-0 (") && said.contains("echo (on-request"), "{said}");
    assert!(said.contains("on_error deny, isolation shared)"), "{said}");
    assert!(said.contains("request body: at most 10MiB\n"), "{said}");
    let said = text(&gatewright(&["explain", "--config", file.path(), "GET", "http://h.test/other"]).stdout);
    assert!(said.contains("no route takes it") && said.contains("path"), "{said}");
}

#[test]
fn explain_tells_what_happens_when_endpoints_fail() {
    let file = File::new(
        r#"{ "listeners": [":0"], "upstreams": { "u": ["127.0.0.1:1"] }, "routes": [
            { "match": { "path": "/usual" }, "to": "u" },
            { "match": { "path": "/none" }, "plugins": ["echo"] },
            { "match": {}, "to": "u", "timeouts": { "request": "5s", "attempt": "1s" },
              "retries": { "on": ["reset", "5xx"], "statuses": [429] }, "limits": { "max_concurrent": 7 } },
        ] }"#,
    );
    let explained = |path: &str| text(&gatewright(&["explain", "--config", file.path(), "GET", path]).stdout);
    let usual = explained("/usual");
    assert!(usual.contains("up to 3 attempts, another endpoint where nothing was sent\n"), "{usual}");
    let none = explained("/none");
    assert!(none.contains("echo") && !none.contains("retries"), "{none}");
    let said = explained("/");
    for line in [
        "timeout of the request: 5s",
        "timeout of the attempt: 1s",
        "GET HEAD OPTIONS TRACE PUT DELETE again after reset, 5xx, 429, with a body of at most 65536 bytes",
        "requests at a time: 7",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

#[test]
fn explain_tells_that_a_tunnel_is_refused() {
    let file = File::new(r#"{ "listeners": [":0"], "routes": [{ "match": {}, "plugins": ["echo"] }] }"#);
    for url in ["foo:443", "http://foo/"] {
        let output = gatewright(&["explain", "--config", file.path(), "CONNECT", url]);
        let said = text(&output.stdout);
        assert!(said.contains("no route is asked: 501") && !said.contains("route-0"), "{said}");
    }
}

#[test]
fn explain_tells_what_tls_is_spoken_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let authority = rcgen::generate_simple_self_signed(vec!["u.internal".to_owned()]).unwrap();
    std::fs::write(&ca, authority.cert.pem()).unwrap();
    let file = File::new(
        &r#"{ "listeners": [
            { "address": ":80", "https_redirect": true },
            { "address": ":443", "tls": { "self_signed": true, "hsts": true } },
        ], "upstreams": { "u": { "endpoints": ["127.0.0.1:1"], "tls": {
            "ca": "CA_FILE", "server_name": "u.internal", "subject_alt_names": ["spiffe://a/u"], "min_version": "1.3",
        } } }, "routes": [{ "match": {}, "to": "u" }] }"#
            .replace("CA_FILE", ca.to_str().unwrap()),
    );
    let explained = |url: &str| {
        let output = gatewright(&["explain", "--config", file.path(), "GET", url]);
        text(&output.stdout) + &text(&output.stderr)
    };
    let secure = explained("https://localhost/a");
    for line in [
        "listener :443 shows self-signed, which has the name",
        "listener :443 adds Strict-Transport-Security: max-age=31536000",
        "TLS as u.internal, trusting ",
        ", certificate for spiffe://a/u, TLS 1.3 only",
    ] {
        assert!(secure.contains(line), "{line}: {secure}");
    }
    assert!(!secure.contains("listener :80 "), "{secure}");
    let other = explained("https://other.test/a");
    assert!(other.contains("shows self-signed, the first: no certificate has the name"), "{other}");
    let plain = explained("http://localhost/a");
    assert!(
        plain.contains("listener :80 redirects all but /.well-known/acme-challenge/*: 308, scheme https"),
        "{plain}"
    );
    assert!(!plain.contains("Strict-Transport-Security") && !plain.contains("shows"), "{plain}");
    assert!(plain.contains("no route is asked: 308") && !plain.contains("routes, best first"), "{plain}");
}

#[test]
fn explain_asks_the_listeners_on_the_port_of_the_address() {
    let file = File::new(
        r#"{ "listeners": [
            { "address": ":80", "https_redirect": { "status": 301 } },
            { "name": "one", "address": "127.0.0.1:8080", "https_redirect": true },
            { "name": "two", "address": "127.0.0.2:8080" },
            { "address": ":8443", "tls": { "self_signed": true } },
        ], "routes": [{ "match": { "path": "/a" }, "plugins": ["echo"] }] }"#,
    );
    let explained = |url: &str| text(&gatewright(&["explain", "--config", file.path(), "GET", url]).stdout);

    let sent = explained("http://a.test/nowhere");
    assert!(sent.contains("listener :80 redirects") && sent.contains("no route is asked: 301"), "{sent}");
    assert!(!sent.contains("404") && !sent.contains("listener one"), "{sent}");
    let challenge = explained("http://a.test:80/.well-known/acme-challenge/token");
    assert!(challenge.contains("no route takes it: 404"), "{challenge}");

    let several = explained("http://a.test:8080/a");
    assert!(several.contains("listener one redirects") && !several.contains("listener :80 "), "{several}");
    assert!(several.contains("route route-0 ("), "the other listener serves: {several}");

    let secure = explained("https://a.test:8443/a");
    assert!(secure.contains("listener :8443 shows") && !secure.contains("redirects"), "{secure}");
    let wrong = explained("http://a.test:8443/a");
    assert!(wrong.contains("listener :8443 speaks only TLS"), "{wrong}");

    let elsewhere = explained("http://a.test:9000/a");
    assert!(elsewhere.contains("no listener takes requests on port 9000"), "{elsewhere}");
    assert!(elsewhere.contains("route route-0 ("), "{elsewhere}");
    let bare = explained("/a");
    assert!(bare.contains("route route-0 (") && !bare.contains("listener"), "{bare}");
}

#[test]
fn schema_is_json_with_the_stock_plugins_in_it() {
    let schema: serde_json::Value = serde_json::from_slice(&gatewright(&["schema"]).stdout).unwrap();
    for plugin in ["echo", "key-auth", "jwt", "rate-limit", "headers"] {
        assert!(schema["$defs"][format!("plugin.{plugin}")].is_object(), "{plugin}");
    }
}

#[test]
fn run_serves_reloads_at_sighup_and_ends_at_sigterm() {
    let file = File::new(GOOD);
    let mut running = Running::start(&file);
    assert!(running.get("/a/x").contains("200 OK"));
    assert!(running.get("/b").contains("404 Not Found"));

    std::fs::write(file.path(), GOOD.replace("/a/*", "/b")).unwrap();
    running.signal("HUP");
    running.wait_for("configuration applied");
    assert!(running.get("/b").contains("200 OK"));

    std::fs::write(file.path(), BAD).unwrap();
    running.signal("HUP");
    running.wait_for("the old one serves on");
    assert!(running.get("/b").contains("200 OK"));

    running.signal("TERM");
    assert!(running.child.wait().unwrap().success());
}

#[test]
fn with_a_delay_it_is_first_not_ready_and_still_there() {
    let more = r#"{ "shutdown": { "delay": "1h" }, "admin": { "address": "127.0.0.1:0" },"#;
    let file = File::new(&GOOD.replacen('{', more, 1));
    let mut running = Running::start(&file);
    let line: serde_json::Value = serde_json::from_str(&running.wait_for("admin API listening")).unwrap();
    let admin = line["address"].as_str().unwrap();
    assert!(get(admin, "/readyz").contains("200 OK"));
    running.signal("TERM");
    running.wait_for("not ready");
    assert!(get(admin, "/readyz").contains("503 "));
    assert!(running.get("/a/x").contains("200 OK"));
    running.signal("TERM");
    assert!(running.child.wait().unwrap().success());
}

#[test]
fn a_sighup_during_the_start_is_a_reload_after_it() {
    // The start asks for a name and waits for an answer that never comes, which is a way to stop within it.
    let dns = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    dns.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let more = format!(
        r#"{{ "resolver": {{ "servers": ["{}"], "timeout": "1s", "unresolved": "warn" }}, "upstreams": {{ "far": ["far.test:80"] }},"#,
        dns.local_addr().unwrap()
    );
    let file = File::new(
        &GOOD.replacen('{', &more, 1).replace("[\"echo\"] }", "[\"echo\"] }, { \"match\": {}, \"to\": \"far\" }"),
    );
    let mut running = Running::spawn(&file);
    dns.recv(&mut [0; 512]).unwrap();
    running.signal("HUP");
    running.wait_for_address();
    assert!(running.get("/a/first").contains("200 OK"));
    let applied = running.wait_for("configuration applied");
    assert!(applied.contains("SIGHUP"), "{applied}");
    assert!(running.get("/a/second").contains("200 OK"));
    running.signal("TERM");
    assert!(running.child.wait().unwrap().success());
}

/// A configuration in a folder of its own.
struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl File {
    fn new(text: &str) -> File {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.json");
        std::fs::write(&path, text).unwrap();
        File { _folder: folder, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// A gateway process; killed where a test fails before its end.
struct Running {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    address: String,
}

impl Running {
    fn start(file: &File) -> Running {
        let mut running = Running::spawn(file);
        running.wait_for_address();
        running
    }

    fn spawn(file: &File) -> Running {
        let mut child = Command::new(binary())
            .args(["run", file.path()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Running { child, log, address: String::new() }
    }

    fn wait_for_address(&mut self) {
        let line = self.wait_for("listening");
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        self.address = event["address"].as_str().unwrap().to_owned();
    }

    /// The next line of the log that contains the text.
    fn wait_for(&mut self, expected: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "the log ended before {expected:?}");
            if line.contains(expected) {
                return line;
            }
        }
    }

    fn get(&self, path: &str) -> String {
        get(&self.address, path)
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn gatewright(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().unwrap()
}

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_gatewright"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
