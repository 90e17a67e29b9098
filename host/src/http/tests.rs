#![allow(clippy::unwrap_used, clippy::expect_used)]

mod deadlines;
mod exchanges;
mod http2;
mod pipelines;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::header::EXPECT;
use http::{Method, StatusCode, Version};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::body::BodyError;
use crate::drain::{self, Drainer};
use crate::tunnel;

/// A connection whose client side the test controls, and what its handler has seen.
struct Served {
    client: DuplexStream,
    task: JoinHandle<()>,
    drainer: Drainer,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    /// `METHOD path body`, in order; for a body that failed, its error.
    requests: Mutex<Vec<String>>,
    rejects: Mutex<Vec<Reject>>,
    /// Lets `/wait` answer.
    go: Notify,
    /// Notified when `/wait` has arrived.
    came: Notify,
    dropped: AtomicUsize,
}

impl Seen {
    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    fn note(&self, method: &Method, path: &str, body: &str) {
        self.requests.lock().unwrap().push(format!("{method} {path} {body}").trim_end().to_owned());
    }
}

struct CountDrop(Arc<Seen>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// The handler: reads the body and answers, unless the path says otherwise.
async fn answer(seen: Arc<Seen>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let text = |text: &'static str| Response::new(Body::from(Bytes::from_static(text.as_bytes())));
    match path.as_str() {
        "/early" => {
            seen.note(&parts.method, &path, "");
            drop(body);
            let mut response = text("early");
            *response.status_mut() = StatusCode::FORBIDDEN;
            response
        }
        "/wait" => {
            let _counted = CountDrop(Arc::clone(&seen));
            seen.note(&parts.method, &path, "");
            seen.came.notify_one();
            seen.go.notified().await;
            text("waited")
        }
        "/panic" => panic!("on purpose"),
        "/abort" => {
            let mut response = text("");
            response.extensions_mut().insert(Abort);
            response
        }
        "/switch" => {
            seen.note(&parts.method, &path, "");
            let (one, other) = tokio::io::duplex(1 << 16);
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(other);
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
            let end: tunnel::End = Box::pin(async { Ok(tunnel::Opened { stream: Box::new(one), held: Box::new(()) }) });
            let asked = parts.extensions.get::<tunnel::Upgrade>().unwrap().protocol.clone();
            let mut response = text("");
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let tunnel = tunnel::Tunnel::new(asked, end, Duration::from_secs(60), |_| ());
            response.extensions_mut().insert(tunnel::Handover::new(tunnel));
            response
        }
        "/silent" => Response::new(Body::boxed(Frames(1))),
        "/endless" => Response::new(Body::boxed(Frames(usize::MAX))),
        "/large" => Response::new(Body::from(Bytes::from(vec![b'x'; 1 << 20]))),
        _ => {
            let (shown, status) = match body.collect().await {
                Ok(body) => (String::from_utf8_lossy(&body.to_bytes()).into_owned(), StatusCode::OK),
                Err(error) => {
                    (rejected(&error).map_or(error.to_string(), |reject| reject.to_string()), StatusCode::BAD_REQUEST)
                }
            };
            seen.note(&parts.method, &path, &shown);
            let mut response = text("ok");
            *response.status_mut() = status;
            response
        }
    }
}

/// A body of this many frames of 1 KiB, which then waits for more.
struct Frames(usize);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        let Some(left) = self.0.checked_sub(1) else { return std::task::Poll::Pending };
        self.0 = left;
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(&[b'x'; 1024])))))
    }
}

/// Why a body was refused by its framing; `None` if it failed otherwise.
fn rejected(error: &BodyError) -> Option<Reject> {
    let BodyError::Client(error) = error else { return None };
    error.get_ref()?.downcast_ref::<Reject>().copied()
}

fn settings(seen: &Arc<Seen>) -> Settings {
    let seen = Arc::clone(seen);
    Settings {
        on_reject: Some(Arc::new(move |_, reject| seen.rejects.lock().unwrap().push(reject))),
        ..Settings::default()
    }
}

fn serve_with(change: impl FnOnce(&mut Settings), buffer_bytes: usize) -> Served {
    let (client, server) = tokio::io::duplex(buffer_bytes);
    let (drainer, drain) = drain::channel();
    let seen = Arc::new(Seen::default());
    let mut settings = settings(&seen);
    change(&mut settings);
    let address = "127.0.0.1:80".parse().unwrap();
    let connection = Arc::new(Connection::new(address, address, "test".into(), &Scheme::HTTP));
    let handler = {
        let seen = Arc::clone(&seen);
        move |_, request| answer(Arc::clone(&seen), request)
    };
    let task = tokio::spawn(serve(server, connection, Arc::new(settings), handler, drain));
    Served { client, task, drainer, seen }
}

fn start() -> Served {
    serve_with(|_| {}, 1 << 16)
}

impl Served {
    async fn write(&mut self, bytes: &str) {
        self.client.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Everything until the server closes.
    async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        self.client.read_to_end(&mut rest).await.unwrap();
        String::from_utf8(rest).unwrap()
    }

    /// Reads until `end` has arrived.
    async fn until(&mut self, end: &str) -> String {
        let mut all = Vec::new();
        while !String::from_utf8_lossy(&all).contains(end) {
            let read = self.client.read_buf(&mut all).await.unwrap();
            assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&all));
        }
        String::from_utf8(all).unwrap()
    }
}

/// The status codes, with `close` if the head says so.
fn outline(bytes: &str) -> Vec<String> {
    let parts = bytes.split("HTTP/1.1 ").filter(|part| part.starts_with(|first: char| first.is_ascii_digit()));
    let heads = parts.map(|part| part.split("\r\n\r\n").next().unwrap_or(part));
    heads
        .map(|head| {
            let close = if head.contains("connection: close") { " close" } else { "" };
            format!("{}{close}", &head[..3])
        })
        .collect()
}
