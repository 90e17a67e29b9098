//! Listeners behind a proxy that names its client (see [`crate::proxy_protocol`]).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::proxy_protocol::{self, Header, HeaderError, Parsed, Policy, Verdict};

/// Why a connection is not served.
#[derive(Debug)]
pub enum Refusal {
    /// It does not come from a trusted address.
    Untrusted,
    /// It does not begin with a header.
    NoHeader,
    Header(HeaderError),
    /// It ended before the header did.
    Ended,
    Broken(io::Error),
    TimedOut(Duration),
}

/// Reads the PROXY header, and not a byte more, if the policy asks for one, and returns the ends of the connection.
/// `ends` are the peer and the address that it connected to.
///
/// # Errors
/// The connection has to be closed.
pub async fn accept(
    stream: &mut TcpStream,
    ends: (SocketAddr, SocketAddr),
    policy: &Policy,
) -> Result<(SocketAddr, SocketAddr), Refusal> {
    match policy.verdict(ends.0.ip()) {
        Verdict::Refuse => return Err(Refusal::Untrusted),
        Verdict::Plain => return Ok(ends),
        Verdict::Header => {}
    }
    let header = tokio::time::timeout(policy.timeout, read(stream)).await;
    match header.unwrap_or(Err(Refusal::TimedOut(policy.timeout)))? {
        Header::Local => Ok(ends),
        Header::Proxied { source, destination } => Ok((source, destination)),
    }
}

async fn read(stream: &mut TcpStream) -> Result<Header, Refusal> {
    let mut header = Vec::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let peeked = stream.peek(&mut piece).await.map_err(Refusal::Broken)?;
        if peeked == 0 {
            return Err(Refusal::Ended);
        }
        let before = header.len();
        header.extend_from_slice(piece.get(..peeked).unwrap_or_default());
        let (done, taken) = match proxy_protocol::parse(&header).map_err(Refusal::Header)? {
            Parsed::NoHeader => return Err(Refusal::NoHeader),
            // All of it belongs to the header, so it can be removed from the socket.
            Parsed::Incomplete => (None, peeked),
            Parsed::Header(header, length) => (Some(header), length.saturating_sub(before)),
        };
        let taken = piece.get_mut(..taken).unwrap_or_default();
        stream.read_exact(taken).await.map_err(Refusal::Broken)?;
        if let Some(header) = done {
            return Ok(header);
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Untrusted => f.write_str("it comes from no trusted proxy"),
            Refusal::NoHeader => f.write_str("it does not begin with a header of the PROXY protocol"),
            Refusal::Header(error) => write!(f, "a bad header of the PROXY protocol: {error}"),
            Refusal::Ended => f.write_str("it ended before its header of the PROXY protocol did"),
            Refusal::Broken(error) => error.fmt(f),
            Refusal::TimedOut(time) => write!(f, "no header of the PROXY protocol within {time:?}"),
        }
    }
}

/// Nearly every header is shorter than this.
const PIECE_BYTES: usize = 1 << 10;
