//! Servers behind the gateway: one that answers by a function, and one that plays bytes.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a server got.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    pub target: String,
    /// What `:scheme` said, in HTTP/2.
    pub scheme: Option<String>,
    /// What `:authority` said, in HTTP/2.
    pub authority: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// An HTTP server that remembers what it got. It ends when it is dropped.
pub struct Server {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Answers 200 with its name as the body.
    pub async fn named(name: &'static str) -> Server {
        Server::start(move |_| Response::new(Full::new(Bytes::from(name)))).await
    }

    /// The same at an address of its own, such as "127.0.0.2:0".
    pub async fn named_at(name: &'static str, address: &str) -> Server {
        let answer = move |_: &Received| Response::new(Full::new(Bytes::from(name)));
        Server::at(address, false, answer).await
    }

    /// Answers with the body that it got, as the type that it was.
    pub async fn mirror() -> Server {
        Server::start(|received| {
            let kind = received.header("content-type").unwrap_or("text/plain");
            let answer = Response::builder().header("content-type", kind).header("etag", "\"v1\"");
            answer.body(Full::new(received.body.clone())).unwrap()
        })
        .await
    }

    /// Answers what `answer` says, in HTTP/1.1.
    pub async fn start(answer: impl Fn(&Received) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static) -> Server {
        Server::with(false, answer).await
    }

    /// The same in HTTP/2 with prior knowledge.
    pub async fn start_h2c(
        answer: impl Fn(&Received) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
    ) -> Server {
        Server::with(true, answer).await
    }

    async fn with(
        h2c: bool,
        answer: impl Fn(&Received) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
    ) -> Server {
        Server::at("127.0.0.1:0", h2c, answer).await
    }

    async fn at(
        address: &str,
        h2c: bool,
        answer: impl Fn(&Received) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind(address).await.unwrap_or_else(|error| panic!("{address}: {error}"));
        let address = listener.local_addr().unwrap();
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let log = received.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let (log, answer) = (log.clone(), answer.clone());
                let service = service_fn(move |request| serve(request, log.clone(), answer.clone()));
                connections.spawn(async move {
                    let io = TokioIo::new(stream);
                    let _ = match h2c {
                        true => http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await,
                        false => http1::Builder::new().serve_connection(io, service).await,
                    };
                });
            }
        });
        Server { address, received, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `host:port`, for a configuration.
    pub fn text(&self) -> String {
        self.address.to_string()
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Forgets what it got.
    pub fn forget(&self) {
        self.received.lock().unwrap().clear();
    }

    /// The only request it got.
    pub fn only(&self) -> Received {
        let mut received = self.received();
        assert_eq!(received.len(), 1, "{received:#?}");
        received.remove(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    request: Request<Incoming>,
    log: Arc<Mutex<Vec<Received>>>,
    answer: impl Fn(&Received) -> Response<Full<Bytes>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    // A body that breaks off is what some tests are about; such a request is not counted as received.
    let Ok(body) = body.collect().await else { return Ok(Response::new(Full::default())) };
    let received = Received {
        method: head.method.to_string(),
        target: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        scheme: head.uri.scheme_str().map(str::to_owned),
        authority: head.uri.authority().map(ToString::to_string),
        headers: head.headers,
        trailers: body.trailers().cloned(),
        body: body.to_bytes(),
    };
    let response = answer(&received);
    log.lock().unwrap().push(received);
    Ok(response)
}

/// A server that does with each connection what a function says, byte by byte.
pub struct Scripted {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Scripted {
    pub async fn start<F: Future<Output = ()> + Send + 'static>(
        play: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(play(stream));
            }
        });
        Scripted { address, task }
    }

    /// Reads a request head, then writes `bytes` and closes.
    pub async fn answering(bytes: &'static [u8]) -> Scripted {
        Scripted::start(move |mut stream| async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
        })
        .await
    }

    pub fn text(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads up to the empty line after a head.
pub async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}
