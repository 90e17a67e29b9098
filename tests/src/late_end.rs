//! A server of HTTP/2 that says the end of a body in a frame of its own, as Go's servers do, and when the test lets it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::Semaphore;

use crate::server::Scripted;

/// Sends all bytes of its bodies, and ends none before [`LateEnd::release`]. It ends when it is dropped.
pub struct LateEnd {
    server: Scripted,
    counts: Arc<Counts>,
    gate: Arc<Semaphore>,
}

#[derive(Default)]
struct Counts {
    asked: AtomicUsize,
    ended: AtomicUsize,
    cancelled: AtomicUsize,
}

impl LateEnd {
    /// Answers 200 with this text, its length and these fields.
    pub async fn answering(text: &'static str, fields: &'static [(&'static str, &'static str)]) -> LateEnd {
        let (counts, gate) = (Arc::<Counts>::default(), Arc::new(Semaphore::new(0)));
        let (counted, waits) = (counts.clone(), gate.clone());
        let server = Scripted::start(move |stream| {
            let (counted, waits) = (counted.clone(), waits.clone());
            let service = service_fn(move |_: Request<Incoming>| {
                counted.asked.fetch_add(1, Ordering::SeqCst);
                let mut response = Response::builder().header("content-length", text.len());
                for (name, value) in fields {
                    response = response.header(*name, *value);
                }
                let response = response.body(LateBody::new(text, counted.clone(), waits.clone())).unwrap();
                async move { Ok::<_, Infallible>(response) }
            });
            async move {
                let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            }
        })
        .await;
        LateEnd { server, counts, gate }
    }

    /// `host:port`, for a configuration.
    pub fn text(&self) -> String {
        self.server.text()
    }

    /// How many requests have come.
    pub fn asked(&self) -> usize {
        self.counts.asked.load(Ordering::SeqCst)
    }

    /// How many bodies went to their end.
    pub fn ended(&self) -> usize {
        self.counts.ended.load(Ordering::SeqCst)
    }

    /// How many did not, because the stream was reset or the connection closed.
    pub fn cancelled(&self) -> usize {
        self.counts.cancelled.load(Ordering::SeqCst)
    }

    /// Lets so many bodies more end.
    pub fn release(&self, count: usize) {
        self.gate.add_permits(count);
    }
}

struct LateBody {
    text: Option<Bytes>,
    /// Ready when it may end.
    may_end: Pin<Box<dyn Future<Output = ()> + Send>>,
    has_ended: bool,
    counts: Arc<Counts>,
}

impl LateBody {
    fn new(text: &'static str, counts: Arc<Counts>, gate: Arc<Semaphore>) -> LateBody {
        let may_end = Box::pin(async move { gate.acquire().await.unwrap().forget() });
        let text = Some(Bytes::from(text)).filter(|text| !text.is_empty());
        LateBody { text, may_end, has_ended: false, counts }
    }
}

impl Body for LateBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(text) = self.text.take() {
            return Poll::Ready(Some(Ok(Frame::data(text))));
        }
        if !self.has_ended {
            ready!(self.may_end.as_mut().poll(context));
            self.has_ended = true;
        }
        Poll::Ready(None)
    }
}

impl Drop for LateBody {
    fn drop(&mut self) {
        let count = if self.has_ended { &self.counts.ended } else { &self.counts.cancelled };
        count.fetch_add(1, Ordering::SeqCst);
    }
}
