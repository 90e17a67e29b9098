//! The API over loopback, with a scripted gateway behind it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::*;

/// A gateway that accepts every configuration but "bad", and plugins named "geo".
struct Fake {
    access: Mutex<Access>,
    ready: AtomicBool,
    config: Mutex<String>,
    plugin: Mutex<Option<Bytes>>,
    /// `apply_config` waits for this, if a test wants that.
    gate: Mutex<Option<oneshot::Receiver<()>>>,
    entered: Mutex<Option<oneshot::Sender<()>>>,
}

impl Fake {
    fn new() -> Arc<Self> {
        Arc::new(Fake {
            access: Mutex::new(Access::Open),
            ready: AtomicBool::new(true),
            config: Mutex::new("{ \"token\": \"${SECRET}\" }".into()),
            plugin: Mutex::default(),
            gate: Mutex::default(),
            entered: Mutex::default(),
        })
    }

    fn digest(&self) -> String {
        format!("{:x}", self.config.lock().unwrap().len())
    }
}

impl Control for Fake {
    fn access(&self) -> Access {
        self.access.lock().unwrap().clone()
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    fn metrics(&self) -> String {
        "# HELP x X.\n# TYPE x gauge\nx 1\n".into()
    }

    fn config(&self) -> ConfigText {
        let text = self.config.lock().unwrap().as_str().into();
        ConfigText { text, digest: self.digest() }
    }

    fn apply_config(&self, text: String, if_match: IfMatch) -> Answer<'_, Result<Applied, Refused>> {
        Box::pin(async move {
            if let Some(entered) = self.entered.lock().unwrap().take() {
                let _ = entered.send(());
            }
            let gate = self.gate.lock().unwrap().take();
            if let Some(gate) = gate {
                let _ = gate.await;
            }
            match text.as_str() {
                "panic" => panic!("scripted"),
                "bad" => {
                    let error = Diagnostic {
                        file: "gateway.json".into(),
                        line: 3,
                        column: 7,
                        message: "unknown key \"rotues\"".into(),
                        help: Some("did you mean \"routes\"?".into()),
                        pointer: "/rotues".into(),
                    };
                    let text = "error: unknown key".into();
                    return Err(Refused::Invalid { detail: "1 mistake".into(), errors: vec![error], text });
                }
                _ => {}
            }
            if !if_match.matches(&self.digest()) {
                return Err(Refused::Stale { current: self.digest() });
            }
            *self.config.lock().unwrap() = text;
            Ok(Applied { digest: self.digest(), details: serde_json::Map::new() })
        })
    }

    fn plugins(&self) -> Value {
        json!({ "geo": { "digest": "1" } })
    }

    fn upstreams(&self) -> Value {
        json!([{ "name": "orders", "endpoints": [] }])
    }

    fn purge(&self, what: Purge) -> u64 {
        match what {
            Purge::All => 3,
            Purge::Url(url) if url == "http://a/b?c=d" => 2,
            Purge::Tag(tag) if tag == "shop 1" => 1,
            _ => 0,
        }
    }

    fn put_plugin<'a>(&'a self, name: &'a str, component: Bytes) -> Answer<'a, Result<Applied, Refused>> {
        Box::pin(async move {
            match name {
                "geo" if component.starts_with(b"\0asm") => {
                    *self.plugin.lock().unwrap() = Some(component);
                    Ok(Applied { digest: "2".into(), details: serde_json::Map::new() })
                }
                "geo" => Err(Refused::Invalid { detail: "not Wasm".into(), errors: Vec::new(), text: String::new() }),
                "later" => Err(Refused::Unavailable("The gateway is draining.".into())),
                _ => Err(Refused::Unknown(format!("No plugin is named {name:?}."))),
            }
        })
    }
}

/// A running API, which ends with the test.
struct Api {
    address: SocketAddr,
    drain: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<io::Result<()>>,
}

impl Api {
    fn start(control: Arc<Fake>) -> Self {
        Api::with_settings(control, |_| {})
    }

    fn with_settings(control: Arc<Fake>, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings { address: "127.0.0.1:0".parse().unwrap(), ..Settings::default() };
        change(&mut settings);
        let admin = Admin::bind(settings, &control.access()).unwrap();
        let address = admin.local_address().unwrap();
        let (drain, drained) = oneshot::channel();
        let served = tokio::spawn(admin.serve(control, async {
            let _ = drained.await;
        }));
        Api { address, drain, served }
    }

    /// Sends these bytes and reads until the API closes.
    async fn raw(&self, request: impl AsRef<[u8]>) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_ref()).await.unwrap();
        let mut bytes = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the API did not answer").unwrap();
        Reply::parse(&bytes)
    }

    async fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        );
        self.raw([head.as_bytes(), body].concat()).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "", b"").await
    }
}

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Checks that this is a refusal in the common form.
    fn assert_problem(&self, status: u16) {
        assert_eq!(self.status, status, "{} {}", self.head, self.body);
        assert_eq!(self.header("content-type"), Some("application/problem+json; charset=utf-8"));
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        assert!(!self.head.contains("access-control-"), "{}", self.head);
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_can_be_read() {
    let control = Fake::new();
    let api = Api::start(Arc::clone(&control));

    let index = api.get("/").await;
    assert_eq!((index.status, index.header("content-type")), (200, Some("application/json; charset=utf-8")));
    for endpoint in ["/livez", "/readyz", "/metrics", "/config", "/plugins", "/upstreams"] {
        assert!(index.json()["endpoints"].get(format!("GET {endpoint}")).is_some(), "{endpoint}");
        let reply = api.get(endpoint).await;
        assert_eq!(reply.status, 200, "{endpoint}");
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        let head = api.send("HEAD", endpoint, "", b"").await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{endpoint}");
    }
    let metrics = api.get("/metrics").await;
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(metrics.body.ends_with("x 1\n"));
    let config = api.get("/config").await;
    assert_eq!(config.body, "{ \"token\": \"${SECRET}\" }");
    assert_eq!(config.header("etag"), Some(format!("\"{}\"", control.digest()).as_str()));
    assert_eq!(api.get("/plugins").await.json(), json!({ "geo": { "digest": "1" } }));
}

#[tokio::test]
async fn a_gateway_that_drains_is_alive_but_not_ready() {
    let control = Fake::new();
    let api = Api::start(Arc::clone(&control));
    control.ready.store(false, Ordering::Relaxed);
    assert_eq!(api.get("/livez").await.status, 200);
    let ready = api.get("/readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "not ready\n"));
}

#[tokio::test]
async fn a_new_configuration() {
    let control = Fake::new();
    let api = Api::start(Arc::clone(&control));
    let etag = api.get("/config").await.header("etag").unwrap().to_owned();

    let applied = api.send("PUT", "/config", &format!("if-match: {etag}\r\n"), b"{}").await;
    assert_eq!(applied.status, 200, "{}", applied.body);
    assert_eq!(*control.config.lock().unwrap(), "{}");
    let now = api.get("/config").await.header("etag").unwrap().to_owned();
    assert_eq!(applied.header("etag"), Some(now.as_str()));
    assert_eq!(format!("\"{}\"", applied.json()["digest"].as_str().unwrap()), now);

    api.send("PUT", "/config", "", b"{ }").await.assert_problem(428);
    let stale = api.send("PUT", "/config", &format!("if-match: {etag}\r\n"), b"{ }").await;
    stale.assert_problem(412);
    assert_eq!(format!("\"{}\"", stale.json()["current"].as_str().unwrap()), now);
    api.send("PUT", "/config", "if-match: abc\r\n", b"{ }").await.assert_problem(400);
    api.send("PUT", "/config", "if-match: *\r\n", b"\xff\xfe").await.assert_problem(400);
    assert_eq!(*control.config.lock().unwrap(), "{}", "a refused change changed something");
    assert_eq!(api.send("PUT", "/config", "if-match: \"x\"\r\nif-match: *\r\n", b"{ }").await.status, 400);
    assert_eq!(api.send("PUT", "/config", "if-match: *\r\n", b"{   }").await.status, 200);
}

#[tokio::test]
async fn a_bad_configuration_says_where_and_why() {
    let control = Fake::new();
    let api = Api::start(Arc::clone(&control));
    let before = control.config().text;
    let refused = api.send("PUT", "/config", "if-match: *\r\n", b"bad").await;
    refused.assert_problem(422);
    assert_eq!(
        refused.json()["errors"],
        json!([{
            "file": "gateway.json", "line": 3, "column": 7, "message": "unknown key \"rotues\"",
            "help": "did you mean \"routes\"?", "pointer": "/rotues",
        }])
    );
    assert_eq!(refused.json()["text"], "error: unknown key");
    assert_eq!(control.config().text, before);
}

#[tokio::test]
async fn a_fault_while_applying_is_an_answer_and_no_crash() {
    let api = Api::start(Fake::new());
    api.send("PUT", "/config", "if-match: *\r\n", b"panic").await.assert_problem(500);
    assert_eq!(api.get("/livez").await.status, 200);
}

#[tokio::test]
async fn a_change_is_finished_although_the_client_hangs_up() {
    let control = Fake::new();
    let (open, gate) = oneshot::channel();
    let (entering, entered) = oneshot::channel();
    *control.gate.lock().unwrap() = Some(gate);
    *control.entered.lock().unwrap() = Some(entering);
    let api = Api::start(Arc::clone(&control));
    let mut stream = TcpStream::connect(api.address).await.unwrap();
    stream
        .write_all(b"PUT /config HTTP/1.1\r\nhost: localhost\r\nif-match: *\r\ncontent-length: 4\r\n\r\nnew!")
        .await
        .unwrap();
    timeout(PATIENCE, entered).await.unwrap().unwrap();
    drop(stream);
    open.send(()).unwrap();
    let applied = async {
        while *control.config.lock().unwrap() != "new!" {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, applied).await.expect("the change was dropped");
}

#[tokio::test]
async fn a_new_plugin() {
    let control = Fake::new();
    let api = Api::start(Arc::clone(&control));
    let component = [&b"\0asm"[..], &vec![7; 300_000]].concat();
    let applied = api.send("PUT", "/plugins/geo", "", &component).await;
    assert_eq!((applied.status, applied.header("etag")), (200, Some("\"2\"")));
    assert_eq!(control.plugin.lock().unwrap().as_deref(), Some(component.as_slice()));
    let refused = api.send("PUT", "/plugins/geo", "", b"text").await;
    refused.assert_problem(422);
    assert_eq!(refused.json()["detail"], "not Wasm");
    api.send("PUT", "/plugins/unknown", "", b"\0asm").await.assert_problem(404);
    api.send("PUT", "/plugins/later", "", b"\0asm").await.assert_problem(503);
}

#[tokio::test]
async fn wrong_methods_and_unknown_paths() {
    let api = Api::start(Fake::new());
    for (method, path, allow) in [
        ("POST", "/", "get, head"),
        ("DELETE", "/livez", "get, head"),
        ("POST", "/metrics", "get, head"),
        ("POST", "/config", "get, head, put"),
        ("OPTIONS", "/config", "get, head, put"),
        ("PUT", "/plugins", "get, head"),
        ("GET", "/plugins/geo", "put"),
        ("BREW", "/plugins/geo", "put"),
    ] {
        let reply = api.send(method, path, "", b"").await;
        reply.assert_problem(405);
        assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
    }
    for path in ["/nothing", "/livez/", "/plugins/", "/plugins/a/b", "/plugins/..", "/plugins/%2e", "/plugins/a%00"] {
        api.get(path).await.assert_problem(404);
    }
}

#[tokio::test]
async fn a_body_that_is_too_large() {
    let control = Fake::new();
    let api = Api::with_settings(Arc::clone(&control), |settings| {
        settings.config_limit_bytes = 1000;
        settings.plugin_limit_bytes = 2000;
    });
    api.send("PUT", "/config", "if-match: *\r\n", &[b' '; 1001]).await.assert_problem(413);
    assert_eq!(api.send("PUT", "/config", "if-match: *\r\n", &[b' '; 1000]).await.status, 200);
    api.send("PUT", "/plugins/geo", "", &[0; 2001]).await.assert_problem(413);

    // Announced length: refused before its first byte. Chunked: refused once it is too long.
    let head = "PUT /plugins/geo HTTP/1.1\r\nhost: localhost\r\n";
    api.raw(format!("{head}content-length: 99999999999\r\n\r\n")).await.assert_problem(413);
    api.raw(format!("{head}content-length: 5000\r\nexpect: 100-continue\r\n\r\n")).await.assert_problem(413);
    let chunk = format!("3e8\r\n{}\r\n", "x".repeat(1000));
    let chunked = format!("{head}connection: close\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(3));
    api.raw(chunked).await.assert_problem(413);
    assert!(control.plugin.lock().unwrap().is_none());
}

#[tokio::test]
async fn a_slow_body_and_a_slow_head() {
    let api = Api::with_settings(Fake::new(), |settings| settings.body_time = Duration::from_millis(30));
    let head = "PUT /plugins/geo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nsome";
    api.raw(head).await.assert_problem(408);

    let api = Api::with_settings(Fake::new(), |settings| settings.header_time = Duration::from_millis(30));
    let mut stream = TcpStream::connect(api.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: loc").await.unwrap();
    let mut bytes = Vec::new();
    let closed = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection stays open");
    assert!(closed.is_err() || !bytes.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn foreign_hosts_and_pages() {
    let control = Fake::new();
    let api = Api::start(Arc::clone(&control));
    let request = |headers: &str| format!("GET /config HTTP/1.1\r\nconnection: close\r\n{headers}\r\n");
    assert_eq!(api.raw(request(&format!("host: {}\r\n", api.address))).await.status, 200);
    api.raw(request("host: evil.example\r\n")).await.assert_problem(421);
    api.raw(request("host: localhost\r\norigin: https://evil.example\r\n")).await.assert_problem(403);
    api.raw(request("")).await.assert_problem(400);
}

#[tokio::test]
async fn a_token_is_asked_for_where_there_is_one() {
    let control = Fake::new();
    let api = Api::start(Arc::clone(&control));
    *control.access.lock().unwrap() = Access::Token("hush".into());
    for path in ["/", "/metrics", "/config", "/plugins", "/upstreams", "/nothing"] {
        let reply = api.get(path).await;
        reply.assert_problem(401);
        assert_eq!(reply.header("www-authenticate"), Some("bearer realm=\"gatewright-admin\""));
    }
    api.send("PUT", "/config", "if-match: *\r\nauthorization: Bearer guess\r\n", b"{}").await.assert_problem(401);
    assert_eq!(api.send("GET", "/config", "authorization: Bearer hush\r\n", b"").await.status, 200);
    assert_eq!(api.get("/livez").await.status, 200);
    assert_eq!(api.get("/readyz").await.status, 200);

    *control.access.lock().unwrap() = Access::Token("other".into());
    api.send("GET", "/config", "authorization: Bearer hush\r\n", b"").await.assert_problem(401);
    assert_eq!(api.send("GET", "/config", "authorization: Bearer other\r\n", b"").await.status, 200);
    *control.access.lock().unwrap() = Access::Closed;
    for path in ["/", "/config", "/livez", "/readyz"] {
        api.send("GET", path, "authorization: Bearer other\r\n", b"").await.assert_problem(403);
    }
}

#[test]
fn an_open_address_needs_a_token() {
    let bind = |address: &str, token: Option<&str>| {
        let access = token.map_or(Access::Open, |token| Access::Token(token.into()));
        Admin::bind(Settings { address: address.parse().unwrap(), ..Settings::default() }, &access)
    };
    assert!(matches!(bind("0.0.0.0:0", None), Err(StartError::TokenRequired(_))));
    assert!(matches!(bind("[::]:0", None), Err(StartError::TokenRequired(_))));
    assert!(matches!(bind("127.0.0.1:0", Some(" \n")), Err(StartError::EmptyToken)));
    assert!(bind("0.0.0.0:0", Some("hush")).is_ok());
    let first = bind("127.0.0.1:0", None).unwrap();
    let taken = bind(&first.local_address().unwrap().to_string(), None);
    assert!(matches!(taken, Err(StartError::Bind { .. })));
}

#[tokio::test]
async fn draining_finishes_the_request_that_runs_and_takes_no_other() {
    let control = Fake::new();
    let (open, gate) = oneshot::channel();
    let (entering, entered) = oneshot::channel();
    *control.gate.lock().unwrap() = Some(gate);
    *control.entered.lock().unwrap() = Some(entering);
    let Api { address, drain, served } = Api::start(control);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"PUT /config HTTP/1.1\r\nhost: localhost\r\nif-match: *\r\ncontent-length: 4\r\n\r\nlast")
        .await
        .unwrap();
    timeout(PATIENCE, entered).await.unwrap().unwrap();
    drain.send(()).unwrap();
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    timeout(PATIENCE, refused).await.expect("the listener stays open");
    open.send(()).unwrap();
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(Reply::parse(&bytes).status, 200);
    timeout(PATIENCE, served).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_their_turn() {
    let api = Api::with_settings(Fake::new(), |settings| settings.connections = 1);
    let mut first = TcpStream::connect(api.address).await.unwrap();
    first.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    timeout(PATIENCE, first.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");

    let mut second = TcpStream::connect(api.address).await.unwrap();
    second.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    drop(first);
    let mut bytes = Vec::new();
    timeout(PATIENCE, second.read_to_end(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(Reply::parse(&bytes).status, 200);
}

#[tokio::test]
async fn what_is_remembered_is_purged_by_address_by_tag_or_altogether() {
    let api = Api::start(Fake::new());
    for (query, purged) in [("", 3), ("?url=http%3A%2F%2Fa%2Fb%3Fc%3Dd", 2), ("?tag=shop%201", 1), ("?tag=other", 0)] {
        let reply = api.send("DELETE", &format!("/cache{query}"), "", b"").await;
        assert_eq!((reply.status, reply.json()["purged"].as_u64()), (200, Some(purged)), "{query}");
    }
    for query in ["?url=", "?url=/path", "?tag=", "?tag=%ff", "?name=x", "?"] {
        let reply = api.send("DELETE", &format!("/cache{query}"), "", b"").await;
        if query == "?" {
            assert_eq!(reply.status, 200, "an empty query is none");
        } else {
            reply.assert_problem(400);
        }
    }
    api.get("/cache").await.assert_problem(405);
}
