//! F2: a hyper server whose service is a hyper client with kept connections, and nothing between them.
//!
//! What the gateway costs above this is the gateway's own: routing, header rules, limits, metrics, plugins.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

pub(crate) async fn serve(client: TcpStream, upstream: SocketAddr) -> hyper::Result<()> {
    let service = service_fn(move |request| forward(request, upstream));
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(client), service).await
}

async fn forward(request: Request<Incoming>, upstream: SocketAddr) -> Result<Response<Returning>, Error> {
    let mut sender = ready_sender(upstream).await?;
    let response = sender.send_request(request).await?;
    Ok(response.map(|body| {
        let mut returning = Returning { body, sender: Some(sender) };
        returning.give_back_at_end();
        returning
    }))
}

/// An idle connection that still lives, else a new one.
async fn ready_sender(upstream: SocketAddr) -> Result<SendRequest<Incoming>, Error> {
    while let Some(mut sender) = IDLE.with_borrow_mut(Vec::pop) {
        if sender.ready().await.is_ok() {
            return Ok(sender);
        }
    }
    let stream = TokioIo::new(crate::connect(upstream).await?);
    let (sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// A response body that gives its connection back when it has ended; a body that is cut short takes it down with it.
struct Returning {
    body: Incoming,
    sender: Option<SendRequest<Incoming>>,
}

impl Returning {
    fn give_back_at_end(&mut self) {
        if self.body.is_end_stream()
            && let Some(sender) = self.sender.take()
        {
            IDLE.with_borrow_mut(|idle| idle.push(sender));
        }
    }
}

impl Body for Returning {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(_)) | None) = &frame {
            self.give_back_at_end();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

thread_local! {
    /// The connections that no exchange uses, last in, first out.
    static IDLE: RefCell<Vec<SendRequest<Incoming>>> = const { RefCell::new(Vec::new()) };
}
