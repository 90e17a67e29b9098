//! F1: the least an HTTP/1.1 proxy must do. Each head is parsed, freed of its hop-by-hop fields and written in one piece
//! with the first bytes of the body; upstream connections are kept and shared by all clients.
//!
//! Bodies are those with a `Content-Length`. A chunked body or a response without a length ends the connection: what is
//! measured has neither, and a floor has no use for the code.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) async fn serve(stream: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    let mut client = Peer::new(stream);
    loop {
        let Some(request) = client.head(request_head).await? else { return Ok(()) };
        let mut server = match IDLE.with_borrow_mut(Vec::pop) {
            Some(server) => server,
            None => Peer::new(crate::connect(upstream).await?),
        };
        client.send_to(&mut server.stream, &request).await?;
        let Some(response) = server.head(response_head).await? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        server.send_to(&mut client.stream, &response).await?;
        if server.received.is_empty() {
            IDLE.with_borrow_mut(|idle| idle.push(server));
        }
    }
}

/// One side of the proxy: a socket, what was read from it and not yet used, and a buffer for the head to send on.
struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
    rewritten: Vec<u8>,
}

/// Where a head ends in `received` and how long the body behind it is. The head to send on is in `rewritten`.
struct Head {
    length: usize,
    body_length: usize,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        Self { stream, received: Vec::with_capacity(BUFFER_BYTES), rewritten: Vec::with_capacity(BUFFER_BYTES) }
    }

    /// Reads until `parse` has a whole head; none at the end of the connection.
    async fn head(
        &mut self,
        parse: impl Fn(&[u8], &mut Vec<u8>) -> io::Result<Option<Head>>,
    ) -> io::Result<Option<Head>> {
        loop {
            if !self.received.is_empty() {
                self.rewritten.clear();
                if let Some(head) = parse(&self.received, &mut self.rewritten)? {
                    return Ok(Some(head));
                }
            }
            if self.received.len() >= BUFFER_BYTES {
                return Err(malformed("a head that is too large"));
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Sends the rewritten head and the body behind it to the other side, and forgets both.
    async fn send_to(&mut self, other: &mut TcpStream, head: &Head) -> io::Result<()> {
        let end = self.received.len().min(head.length + head.body_length);
        self.rewritten.extend_from_slice(&self.received[head.length..end]);
        other.write_all(&self.rewritten).await?;
        let mut left = head.length + head.body_length - end;
        self.received.drain(..end);
        while left > 0 {
            let read = self.stream.read_buf(&mut self.received).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let taken = left.min(self.received.len());
            other.write_all(&self.received[..taken]).await?;
            self.received.drain(..taken);
            left -= taken;
        }
        Ok(())
    }
}

fn request_head(received: &[u8], rewritten: &mut Vec<u8>) -> io::Result<Option<Head>> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(length) = request.parse(received).map_err(malformed)? else { return Ok(None) };
    for part in [request.method.unwrap_or("GET"), " ", request.path.unwrap_or("/"), " HTTP/1.1\r\n"] {
        rewritten.extend_from_slice(part.as_bytes());
    }
    let body_length = rewrite_fields(request.headers, rewritten)?.unwrap_or(0);
    Ok(Some(Head { length, body_length }))
}

fn response_head(received: &[u8], rewritten: &mut Vec<u8>) -> io::Result<Option<Head>> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = response.parse(received).map_err(malformed)? else { return Ok(None) };
    let first_line = received.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    rewritten.extend_from_slice(&received[..first_line]);
    let body_length = rewrite_fields(response.headers, rewritten)?.ok_or_else(|| malformed("no length"))?;
    Ok(Some(Head { length, body_length }))
}

/// Copies all fields but the hop-by-hop ones and answers the `Content-Length`.
fn rewrite_fields(fields: &[httparse::Header<'_>], rewritten: &mut Vec<u8>) -> io::Result<Option<usize>> {
    let mut body_length = None;
    for field in fields {
        if HOP_BY_HOP.iter().any(|name| field.name.eq_ignore_ascii_case(name)) {
            continue;
        }
        if field.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(malformed("a chunked body"));
        }
        if field.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(field.value).map_err(malformed)?;
            body_length = Some(text.parse().map_err(malformed)?);
        }
        for part in [field.name.as_bytes(), b": ", field.value, b"\r\n"] {
            rewritten.extend_from_slice(part);
        }
    }
    rewritten.extend_from_slice(b"\r\n");
    Ok(body_length)
}

fn malformed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, cause)
}

thread_local! {
    /// The idle upstream connections of the one thread there is, last in, first out.
    static IDLE: RefCell<Vec<Peer>> = const { RefCell::new(Vec::new()) };
}

const BUFFER_BYTES: usize = 16 * 1024;
const MOST_FIELDS: usize = 64;
const HOP_BY_HOP: [&str; 5] = ["connection", "keep-alive", "proxy-connection", "te", "upgrade"];
