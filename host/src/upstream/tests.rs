//! Upstreams over real loopback sockets, against servers that follow a script. Nothing sleeps: a script waits for what
//! it reads, and tests about time run on tokio's paused clock.

#![allow(clippy::unwrap_used)]

mod balancing;
mod ejection;
mod faults;
mod h2c;
mod limits;
mod pooling;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::balance::Policy;
use crate::body::BodyError;

/// A step of a scripted server on a connection.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Reads until this text arrives, and records all that was read.
    Until(&'static str),
    Write(Vec<u8>),
    /// Waits, on tokio's clock.
    Pause(Duration),
    /// Writes the text repeatedly until the peer is gone.
    Flood(&'static str),
    /// Closes both directions, leaving received data unread.
    Close,
    /// Closes with a reset.
    Reset,
    /// Waits until the peer closes.
    Hang,
}

/// The end of a request without a body.
pub(super) const HEAD: Step = Step::Until("\r\n\r\n");

pub(super) fn write(text: &str) -> Step {
    Step::Write(text.as_bytes().to_vec())
}

/// A server on a loopback port.
pub(super) struct Scripted {
    pub(super) address: String,
    /// What was read on each connection.
    pub(super) seen: Arc<Mutex<Vec<String>>>,
    pub(super) connections: Arc<AtomicUsize>,
}

/// The n-th connection follows the n-th script, or the last script if there are fewer. After its script, a connection
/// waits until the peer closes.
pub(super) async fn scripted(scripts: Vec<Vec<Step>>) -> Scripted {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Scripted {
        address: listener.local_addr().unwrap().to_string(),
        seen: Arc::default(),
        connections: Arc::default(),
    };
    let (seen, connections) = (Arc::clone(&server.seen), Arc::clone(&server.connections));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let number = connections.fetch_add(1, SeqCst);
            let script = scripts.get(number).or(scripts.last()).cloned().unwrap_or_default();
            seen.lock().unwrap().push(String::new());
            let seen = Arc::clone(&seen);
            tokio::spawn(
                async move { follow(socket, script, |text| seen.lock().unwrap()[number].push_str(text)).await },
            );
        }
    });
    server
}

async fn follow(mut socket: TcpStream, script: Vec<Step>, mut record: impl FnMut(&str)) {
    let mut unread = String::new();
    let mut buffer = [0; 4096];
    for step in script {
        match step {
            Step::Until(mark) => loop {
                if let Some(at) = unread.find(mark) {
                    let rest = unread.split_off(at + mark.len());
                    record(&unread);
                    unread = rest;
                    break;
                }
                match socket.read(&mut buffer).await {
                    Ok(count) if count > 0 => unread.push_str(&String::from_utf8_lossy(&buffer[..count])),
                    _ => return record(&unread),
                }
            },
            Step::Write(bytes) => {
                if socket.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Step::Pause(time) => tokio::time::sleep(time).await,
            Step::Flood(text) => {
                let text = text.repeat(100);
                while socket.write_all(text.as_bytes()).await.is_ok() {}
                return;
            }
            Step::Close => return,
            Step::Reset => {
                socket.set_zero_linger().unwrap();
                return;
            }
            Step::Hang => break,
        }
    }
    while matches!(socket.read(&mut buffer).await, Ok(count) if count > 0) {}
}

pub(super) fn settings(addresses: &[&str]) -> Settings {
    Settings::new("orders", addresses.iter().map(|address| Server::from(address.parse::<Address>().unwrap())).collect())
}

/// An upstream with this one server and the transport changed by `change`.
pub(super) fn upstream(address: &str, change: impl FnOnce(&mut Transport)) -> Arc<Upstream> {
    let mut settings = settings(&[address]);
    change(&mut settings.transport);
    Upstream::new(settings, None)
}

pub(super) fn request(method: &str, body: impl Into<Body>) -> Request<Body> {
    Request::builder().method(method).uri("/a?b").header("host", "api.example").body(body.into()).unwrap()
}

/// Sends the request and returns the outcome as text: status and body, or status and reason.
pub(super) async fn exchange(upstream: &Upstream, request: Request<Body>) -> (String, Facts) {
    let mut facts = Facts::default();
    let text = match upstream.send(request, &Ask::default(), &mut facts).await {
        Ok(response) => show(response).await,
        Err(error) => {
            let reason = format!("{:?}", error.reason);
            let reason = reason.split(['(', '{']).next().unwrap_or_default();
            let detail = match &error.reason {
                Reason::BadResponse(flaw) => format!(" {}", format!("{flaw:?}").split('(').next().unwrap()),
                _ => String::new(),
            };
            format!("{} {reason}{detail}", error.status().as_u16())
        }
    };
    (text, facts)
}

pub(super) async fn get(upstream: &Upstream) -> String {
    exchange(upstream, request("GET", Body::Empty)).await.0
}

pub(super) async fn show(response: Response<Body>) -> String {
    let status = response.status().as_u16();
    match response.into_body().collect().await {
        Ok(body) => {
            let trailers = body.trailers().map(|fields| format!(" + {fields:?}")).unwrap_or_default();
            let bytes = body.to_bytes();
            format!("{status} {}{trailers}", String::from_utf8_lossy(&bytes)).trim_end().to_owned()
        }
        Err(_) => format!("{status} and a body that breaks off"),
    }
}

/// A body that yields these frames, each as soon as it is polled, and then ends or fails.
pub(super) fn frames(frames: Vec<Result<http_body::Frame<Bytes>, BodyError>>) -> Body {
    Body::boxed(Frames(frames.into_iter()))
}

pub(super) fn data(text: &'static str) -> Result<http_body::Frame<Bytes>, BodyError> {
    Ok(http_body::Frame::data(Bytes::from_static(text.as_bytes())))
}

struct Frames(std::vec::IntoIter<Result<http_body::Frame<Bytes>, BodyError>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        std::task::Poll::Ready(self.0.next())
    }
}

/// Lets other tasks run until the condition holds. The time limit only turns a hang into a failure.
pub(super) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while std::time::Instant::now() < end {
        if condition() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("never: {what}");
}
