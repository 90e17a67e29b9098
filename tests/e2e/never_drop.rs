//! Reloads that add, change and remove listeners, certificates and upstreams, while requests of every kind flow: none
//! fails, and what is open stays open.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use futures_util::stream;
use gatewright_tests::{
    Authority, Client, GrpcClient, GrpcServer, Server, ServerTls, Socket, TestGateway, TlsClient, TlsFront, WebSockets,
    eventually, send,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::Request;

/// Changes of the configuration.
const RELOADS: u64 = 12;

/// Requests of each kind that are answered between two of them.
const BETWEEN: u64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_of_every_protocol_drop_nothing() {
    let servers = Servers::start().await;
    let gateway = TestGateway::start_beside(servers.config(0), |directory| servers.write_files(directory));
    let mut load = Load::default();
    requests(&mut load, &gateway, &servers);
    streams(&mut load, &gateway);

    for round in 1..=RELOADS {
        load.goes_on().await;
        servers.write_files(gateway.directory());
        gateway.write_config(servers.config(round));
        let gateway = &gateway;
        tokio::task::block_in_place(|| gateway.reload()).unwrap();
        if round % 2 == 1 {
            // A listener that has just come serves at once.
            assert_eq!(send(gateway.address_of("extra"), "GET", "/", &[], "").await.status, 200);
        }
    }
    load.goes_on().await;
    load.stop().await;

    let records = gateway.records();
    let failed: Vec<&Value> = records.iter().filter(|record| !is_good(record)).collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:#?}", failed.len(), records.len());
    // The changed files have caused some more.
    assert!(gateway.metric("gatewright_reloads_total", &["applied"]).await >= RELOADS as f64);
}

fn is_good(record: &Value) -> bool {
    let status = record["status"].as_u64().unwrap_or(0);
    // The streams end when their clients leave, at the end of the test.
    (status == 101 || status == 200) && (record["error"].is_null() || record["outcome"] == "client-left")
}

/// Requests on kept and on new connections.
fn requests(load: &mut Load, gateway: &TestGateway, servers: &Servers) {
    let (kept, secure) = (gateway.address_of("kept"), gateway.address_of("secure"));
    load.run("HTTP/1.1, kept", move |turns| async move {
        let mut client = Client::http1(kept).await;
        while turns.next() {
            assert_eq!(client.send("GET", "/", &[], "").await.unwrap().status, 200);
        }
    });
    let changing = servers.changing;
    load.run("HTTP/1.1, on a listener that is opened anew", move |turns| async move {
        while turns.next() {
            assert_eq!(send(changing, "POST", "/", &[("connection", "close")], "a body").await.status, 200);
        }
    });
    load.run("HTTP/2, kept", move |turns| async move {
        let mut client = Client::http2(kept).await;
        while turns.next() {
            assert_eq!(client.send("GET", "/", &[], "").await.unwrap().status, 200);
        }
    });
    for (kind, alpn, per_connection) in [
        ("HTTP/1.1 over TLS, new", "http/1.1", 1),
        ("HTTP/2 over TLS, new", "h2", 2),
        ("HTTP/2 over TLS, kept", "h2", u64::MAX),
    ] {
        let settings = servers.authority.client().alpn(&[alpn]).build();
        load.run(kind, move |turns| async move {
            while turns.goes_on() {
                let mut client = TlsClient::with(secure, "a.test", settings.clone()).await.unwrap();
                for _ in 0..per_connection {
                    if !turns.next() {
                        return;
                    }
                    assert_eq!(client.get("/").await.unwrap().status, 200);
                }
            }
        });
    }
    load.run("gRPC", move |turns| async move {
        let mut client = GrpcClient::connect(kept).await;
        while turns.next() {
            assert_eq!(client.unary("Unary", "hello").await.unwrap(), "hello");
        }
    });
}

/// What is opened once, before the first reload, and lives through all of them.
fn streams(load: &mut Load, gateway: &TestGateway) {
    let kept = gateway.address_of("kept");
    load.run("WebSocket, kept", move |turns| async move {
        let (mut socket, response) = Socket::open(kept, "/chat").await;
        assert_eq!(response.status(), 101);
        while turns.next() {
            socket.echo("hello").await;
        }
        socket.close().await;
    });
    load.run("WebSocket, new", move |turns| async move {
        while turns.next() {
            let (mut socket, _) = Socket::open(kept, "/chat").await;
            socket.echo("hello").await;
            socket.close().await;
        }
    });
    load.run("gRPC, one stream", move |turns| async move {
        let mut client = GrpcClient::connect(kept).await;
        let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
        let sent = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
        let mut echoes = client.call("Bidi", Request::new(sent)).await.unwrap().into_inner();
        while turns.next() {
            sender.send(Bytes::from_static(b"hello")).await.unwrap();
            assert_eq!(echoes.message().await.unwrap().unwrap(), "hello");
        }
        drop(sender);
        assert_eq!(echoes.message().await.unwrap(), None);
    });
}

/// What is behind the gateway, the same in all rounds.
struct Servers {
    authority: Authority,
    web: [Server; 2],
    secure_web: TlsFront,
    sockets: WebSockets,
    calls: GrpcServer,
    secure_calls: TlsFront,
    /// Where a listener is that every reload opens anew.
    changing: SocketAddr,
}

impl Servers {
    async fn start() -> Servers {
        let authority = Authority::new("never drop");
        let web = [Server::named("one").await, Server::named("two").await];
        let tls = ServerTls::showing(&authority.issue(&["127.0.0.1"]));
        let secure_web = TlsFront::start(&tls, &web[0].text()).await;
        let calls = GrpcServer::start().await;
        let secure_calls = TlsFront::start(&tls.alpn(&["h2"]), &calls.text()).await;
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let sockets = WebSockets::start().await;
        Servers { authority, web, secure_web, sockets, calls, secure_calls, changing: free }
    }

    /// New certificates and keys under the old names.
    fn write_files(&self, directory: &Path) {
        self.authority.issue(&["a.test"]).write(directory, "a");
        self.authority.issue(&["b.test"]).write(directory, "b");
        std::fs::write(directory.join("ca.pem"), self.authority.pem()).unwrap();
    }

    fn config(&self, round: u64) -> Value {
        let odd = round % 2 == 1;
        let pair = |stem: &str| json!({ "cert": format!("{stem}.pem"), "key": format!("{stem}.key") });
        let certificates = if odd { vec![pair("a"), pair("b")] } else { vec![pair("a")] };
        let protocols = if odd { json!(["http/1.1"]) } else { json!(["http/1.1", "h2"]) };
        let [one, two] = [self.web[0].text(), self.web[1].text()];
        let web = match round % 4 {
            0 => json!([one]),
            1 => json!([one, two]),
            2 => json!({ "endpoints": [two], "max_idle": 3 }),
            _ => json!({ "endpoints": [self.secure_web.text()], "tls": { "ca": "ca.pem" } }),
        };
        let calls = match odd {
            true => json!({ "endpoints": [self.secure_calls.text()], "protocol": "h2", "tls": { "ca": "ca.pem" } }),
            false => json!({ "endpoints": [self.calls.text()], "protocol": "h2c" }),
        };
        let mut config = json!({
            "listeners": [
                { "name": "kept", "address": "127.0.0.1:0" },
                { "name": "secure", "address": "127.0.0.1:0", "tls": { "certificates": certificates } },
                { "name": "changing", "address": self.changing.to_string(), "protocols": protocols },
            ],
            "upstreams": {
                "web": web, "calls": calls,
                "sockets": { "endpoints": [self.sockets.text()], "max_idle": round % 3 },
            },
            "routes": [
                { "match": { "path": "/chat" }, "to": "sockets" },
                { "match": { "path": "/test.Echo/*" }, "to": "calls" },
                { "match": { "path": "/*" }, "to": "web" },
            ],
        });
        if odd {
            config["listeners"].as_array_mut().unwrap().push(json!({ "name": "extra", "address": "127.0.0.1:0" }));
            config["upstreams"]["extra"] = json!([self.web[1].text()]);
            config["routes"].as_array_mut().unwrap().push(json!({ "match": { "path": "/extra" }, "to": "extra" }));
        }
        config
    }
}

/// Clients of several kinds, each of which asks again and again.
#[derive(Default)]
struct Load {
    stop: Arc<AtomicBool>,
    kinds: Vec<(&'static str, Arc<AtomicU64>)>,
    tasks: JoinSet<()>,
}

/// What a client counts its requests by.
struct Turns {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
}

impl Load {
    fn run<F: Future<Output = ()> + Send + 'static>(&mut self, kind: &'static str, client: impl FnOnce(Turns) -> F) {
        let count = Arc::<AtomicU64>::default();
        self.tasks.spawn(client(Turns { stop: self.stop.clone(), count: count.clone() }));
        self.kinds.push((kind, count));
    }

    /// Waits until clients of every kind have got further. One that has failed, fails the test.
    async fn goes_on(&mut self) {
        let wanted: Vec<u64> = self.kinds.iter().map(|(_, count)| count.load(Relaxed) + BETWEEN + 1).collect();
        for ((kind, count), wanted) in self.kinds.iter().zip(wanted) {
            eventually(kind, async || {
                if let Some(ended) = self.tasks.try_join_next() {
                    ended.unwrap();
                    panic!("a client has ended");
                }
                (count.load(Relaxed) >= wanted).then_some(())
            })
            .await;
        }
    }

    async fn stop(mut self) {
        self.stop.store(true, Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

impl Turns {
    fn goes_on(&self) -> bool {
        !self.stop.load(Relaxed)
    }

    /// Whether there is another request to make; the one before has been answered.
    fn next(&self) -> bool {
        self.count.fetch_add(1, Relaxed);
        self.goes_on()
    }
}
