//! The handshake with a client, under its own timeout.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::Server;
use super::peer::Peer;
use crate::drain::Drain;

/// A connection after its handshake.
pub type Stream = tokio_rustls::server::TlsStream<TcpStream>;

/// Why no connection was made. The text is for the operator.
#[derive(Debug)]
pub enum Refused {
    /// The client closed without sending anything, as port scanners do.
    Silent,
    /// The handshake took longer than this.
    TimedOut(Duration),
    /// The client spoke HTTP without TLS; it was told so.
    PlainHttp,
    /// The handshake failed; the side that refused it has told the other.
    Failed(io::Error),
}

impl Server {
    /// Does the handshake, within `limit` from now on. For a connection that has sent nothing, only the socket is held;
    /// during a drain, it is waited for only briefly.
    ///
    /// # Errors
    /// The connection has been closed.
    pub async fn accept(
        &self,
        stream: TcpStream,
        limit: Duration,
        drain: &Drain,
    ) -> Result<(Stream, Arc<Peer>), Refused> {
        timeout(limit, self.shake_hands(stream, drain)).await.unwrap_or(Err(Refused::TimedOut(limit)))
    }

    async fn shake_hands(&self, mut stream: TcpStream, drain: &Drain) -> Result<(Stream, Arc<Peer>), Refused> {
        let first = tokio::select! {
            biased;
            first = first_byte(&stream) => first,
            () = gives_up(drain) => None,
        };
        // A handshake begins with 22; only a request without TLS begins with a letter.
        match first {
            None => return Err(Refused::Silent),
            Some(b'A'..=b'Z') => {
                let _ = stream.write_all(PLAIN_HTTP.as_bytes()).await;
                linger(stream).await;
                return Err(Refused::PlainHttp);
            }
            Some(_) => {}
        }
        match TlsAcceptor::from(self.config.clone()).accept(stream).into_fallible().await {
            Ok(stream) => {
                let peer = Arc::new(Peer::of(stream.get_ref().1, &self.settings().protocols));
                Ok((stream, peer))
            }
            Err((error, stream)) => {
                linger(stream).await;
                Err(Refused::Failed(error))
            }
        }
    }
}

/// Waits for the first byte without consuming it; `None` if there is none.
async fn first_byte(stream: &TcpStream) -> Option<u8> {
    let mut byte = [0];
    match stream.peek(&mut byte).await {
        Ok(1..) => Some(byte[0]),
        _ => None,
    }
}

async fn gives_up(drain: &Drain) {
    drain.asked().await;
    sleep(DRAIN_PATIENCE).await;
}

/// Closes without a reset. Unread bytes of the client would cause one, and it could destroy our last message on its
/// way.
async fn linger(mut stream: TcpStream) {
    let last = async {
        let _ = stream.shutdown().await;
        let mut waste = [0; 1024];
        for _ in 0..MOST_WASTE / waste.len() {
            if !matches!(stream.read(&mut waste).await, Ok(1..)) {
                break;
            }
        }
    };
    let _ = timeout(LINGER, last).await;
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Silent => f.write_str("the client closed before it said anything"),
            Refused::TimedOut(limit) => write!(f, "the handshake was not done within {limit:?}"),
            Refused::PlainHttp => f.write_str("the client spoke HTTP in the clear"),
            Refused::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

/// Sent to clients that use this port without TLS.
const PLAIN_HTTP: &str = concat!(
    "HTTP/1.1 400 Bad Request\r\n",
    "content-type: application/problem+json\r\n",
    "content-length: 86\r\n",
    "connection: close\r\n",
    "\r\n",
    r#"{"title":"Bad Request","status":400,"detail":"This port speaks TLS; begin with https"}"#,
);

/// How long a draining gateway waits for the first byte of a connection.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);

/// How long a refused client may take to close.
const LINGER: Duration = Duration::from_secs(1);

/// Maximum bytes that are read from it in the meantime.
const MOST_WASTE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::PLAIN_HTTP;

    #[test]
    fn the_answer_to_plain_http_is_as_long_as_it_says() {
        let (head, body) = PLAIN_HTTP.split_once("\r\n\r\n").unwrap_or_default();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }
}
