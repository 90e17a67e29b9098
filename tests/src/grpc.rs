//! gRPC by tonic: a server of one service, `test.Echo`, and its client. Messages are bytes, so no code is generated.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use futures_util::{Stream, StreamExt};
use prost::Message as _;
use tokio::task::JoinHandle;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

/// Messages as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = BytesCodec;
    type Decoder = BytesCodec;

    fn encoder(&mut self) -> BytesCodec {
        BytesCodec
    }

    fn decoder(&mut self) -> BytesCodec {
        BytesCodec
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// What the server has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Calls that have come.
    pub calls: AtomicUsize,
    /// Connections are not told apart; calls that were dropped before their end are.
    pub cancelled: AtomicUsize,
    /// `grpc-timeout` of the last call.
    pub timeout: std::sync::Mutex<Option<String>>,
    /// The head of the last call.
    pub headers: std::sync::Mutex<http::HeaderMap>,
    /// How many more messages `Ticks` may send.
    pub ticks: Ticks,
}

/// Permits that a test gives.
#[derive(Debug)]
pub struct Ticks(tokio::sync::Semaphore);

impl Default for Ticks {
    fn default() -> Ticks {
        Ticks(tokio::sync::Semaphore::new(0))
    }
}

impl Ticks {
    pub fn allow(&self, count: usize) {
        self.0.add_permits(count);
    }
}

/// The message of `tests/grpc/notes.proto`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Note {
    #[prost(string, tag = "1")]
    pub text: String,
    #[prost(int64, tag = "2")]
    pub count: i64,
    #[prost(bytes = "bytes", tag = "3")]
    pub data: Bytes,
    #[prost(message, optional, boxed, tag = "4")]
    pub inner: Option<Box<Note>>,
    #[prost(string, repeated, tag = "5")]
    pub tags: Vec<String>,
}

/// Counts a call as cancelled, unless it is told that it ended.
struct Running(Arc<Seen>, bool);

impl Running {
    fn over(mut self) {
        self.1 = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.1 {
            self.0.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// The server. `Unary` and `Bidi` echo, `Collect` joins what the client streams, `Split` streams the words of a
/// request, `Fail` fails with details, `Hang` never answers, `Drip` answers once and then never again. `Ticks` repeats the
/// request as often as the test allows, up to its `count`; `Flood` sends as many notes of a MiB. Each answer has a trailer
/// `x-trailer`.
pub struct GrpcServer {
    address: SocketAddr,
    pub seen: Arc<Seen>,
    task: JoinHandle<()>,
}

impl GrpcServer {
    /// Its service as a `.proto` file.
    pub fn proto() -> String {
        std::fs::read_to_string(crate::repository().join("tests/grpc/notes.proto")).unwrap()
    }

    pub async fn start() -> GrpcServer {
        GrpcServer::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn start_at(address: SocketAddr) -> GrpcServer {
        let incoming = TcpIncoming::bind(address).unwrap().with_nodelay(Some(true));
        let address = incoming.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let service = Echo { seen: Arc::clone(&seen) };
        let task = tokio::spawn(async move {
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        GrpcServer { address, seen, task }
    }

    pub fn text(&self) -> String {
        self.address.to_string()
    }

    pub fn calls(&self) -> usize {
        self.seen.calls.load(Ordering::SeqCst)
    }

    pub fn cancelled(&self) -> usize {
        self.seen.cancelled.load(Ordering::SeqCst)
    }
}

impl Drop for GrpcServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Messages = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

#[derive(Clone)]
struct Echo {
    seen: Arc<Seen>,
}

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl Service<http::Request<tonic::body::Body>> for Echo {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let seen = Arc::clone(&self.seen);
        Box::pin(async move {
            seen.calls.fetch_add(1, Ordering::SeqCst);
            let timeout = request.headers().get("grpc-timeout").map(|value| value.to_str().unwrap().to_owned());
            *seen.timeout.lock().unwrap() = timeout;
            *seen.headers.lock().unwrap() = request.headers().clone();
            let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
            let handler = Handler { method, seen };
            let mut grpc = tonic::server::Grpc::new(BytesCodec);
            let mut response = grpc.streaming(handler, request).await;
            response.headers_mut().insert("x-header", "of the server".parse().unwrap());
            Ok(response)
        })
    }
}

/// Every kind of call is one that streams both ways, for those who serve it by hand.
struct Handler {
    method: String,
    seen: Arc<Seen>,
}

impl Service<Request<Streaming<Bytes>>> for Handler {
    type Response = Response<Messages>;
    type Error = Status;
    type Future = BoxFuture<Response<Messages>, Status>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let (method, running) = (self.method.clone(), Running(Arc::clone(&self.seen), false));
        Box::pin(async move {
            let mut messages = request.into_inner();
            let one = |message: Bytes| -> Messages { Box::pin(futures_util::stream::iter([Ok(message)])) };
            let mut running = running;
            let answer: Messages = match &*method {
                "Unary" => one(messages.message().await?.unwrap_or_default()),
                "Collect" => {
                    let mut all = Vec::new();
                    while let Some(message) = messages.message().await? {
                        all.extend(message);
                    }
                    one(all.into())
                }
                "Split" => {
                    let text = messages.message().await?.unwrap_or_default();
                    let words = String::from_utf8_lossy(&text).split(' ').map(str::to_owned).collect::<Vec<_>>();
                    Box::pin(futures_util::stream::iter(words).map(|word| Ok(Bytes::from(word))))
                }
                "Bidi" => {
                    let state = (messages, Running(Arc::clone(&running.0), false));
                    Box::pin(futures_util::stream::unfold(state, |(mut messages, running)| async move {
                        match messages.message().await {
                            Ok(Some(message)) => Some((Ok(message), (messages, running))),
                            Ok(None) => {
                                running.over();
                                None
                            }
                            Err(status) => Some((Err(status), (messages, running))),
                        }
                    }))
                }
                "Fail" => {
                    running.1 = true;
                    let mut status = Status::failed_precondition("not like this: 100 %, ü");
                    status.metadata_mut().insert("x-trailer", "of the failure".parse().unwrap());
                    return Err(status);
                }
                "Ticks" => {
                    let message = messages.message().await?.unwrap_or_default();
                    let count = Note::decode(message.clone()).map_or(0, |note| note.count);
                    let state = (message, count, Running(Arc::clone(&running.0), false));
                    Box::pin(futures_util::stream::unfold(state, |(message, left, running)| async move {
                        if left == 0 {
                            running.over();
                            return None;
                        }
                        running.0.ticks.0.acquire().await.unwrap().forget();
                        Some((Ok(message.clone()), (message, left - 1, running)))
                    }))
                }
                "Flood" => {
                    let count =
                        Note::decode(messages.message().await?.unwrap_or_default()).map_or(0, |note| note.count);
                    let note = Note { data: vec![7; 1 << 20].into(), ..Note::default() };
                    let message = Bytes::from(note.encode_to_vec());
                    let count = usize::try_from(count).unwrap_or_default();
                    Box::pin(futures_util::stream::iter(std::iter::repeat_n(message, count).map(Ok)))
                }
                "Drip" => {
                    let running = Running(Arc::clone(&running.0), false);
                    let rest = futures_util::stream::once(async move {
                        let _running = running;
                        std::future::pending().await
                    });
                    Box::pin(one("drop".into()).chain(rest))
                }
                _ => std::future::pending().await,
            };
            running.1 = true;
            Ok(Response::new(answer))
        })
    }
}

/// A client of it.
#[derive(Clone)]
pub struct GrpcClient(tonic::client::Grpc<Channel>);

impl GrpcClient {
    pub async fn connect(address: SocketAddr) -> GrpcClient {
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        GrpcClient(tonic::client::Grpc::new(channel))
    }

    /// A call of any kind: what the client streams, and what comes.
    pub async fn call(
        &mut self,
        method: &'static str,
        request: Request<impl Stream<Item = Bytes> + Send + 'static>,
    ) -> Result<Response<Streaming<Bytes>>, Status> {
        self.0.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = http::uri::PathAndQuery::try_from(format!("/test.Echo/{method}")).unwrap();
        self.0.streaming(request, path, BytesCodec).await
    }

    /// A call with one message each way.
    pub async fn unary(&mut self, method: &'static str, message: &str) -> Result<Bytes, Status> {
        let message = Bytes::copy_from_slice(message.as_bytes());
        let request = Request::new(futures_util::stream::iter([message]));
        let mut messages = self.call(method, request).await?.into_inner();
        let answer = messages.message().await?.unwrap_or_default();
        while messages.message().await?.is_some() {}
        Ok(answer)
    }
}
