//! Clients: one request on a connection of its own, a connection that is kept, and bytes as they are.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a client got.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub version: Version,
    pub headers: HeaderMap,
    pub trailers: Option<HeaderMap>,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Asserts that this is a problem (RFC 9457) with that status, and gives it.
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert!(
            self.header("content-type").is_some_and(|kind| kind.starts_with("application/problem+json")),
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], status);
        problem
    }
}

/// A client with one connection.
pub enum Client {
    Http1(http1::SendRequest<Full<Bytes>>, SocketAddr),
    Http2(http2::SendRequest<Full<Bytes>>, String),
}

impl Client {
    pub async fn http1(address: SocketAddr) -> Client {
        let (sender, connection) = http1::handshake(TokioIo::new(connect(address).await)).await.unwrap();
        tokio::spawn(connection);
        Client::Http1(sender, address)
    }

    /// HTTP/2 with prior knowledge.
    pub async fn http2(address: SocketAddr) -> Client {
        let io = TokioIo::new(connect(address).await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        Client::Http2(sender, "http://gateway.test".into())
    }

    /// The same over a stream that is there already; `host` is who the requests are for.
    pub async fn over(stream: impl Stream, is_http2: bool, address: SocketAddr, host: &str) -> hyper::Result<Client> {
        let io = TokioIo::new(stream);
        if is_http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            return Ok(Client::Http2(sender, format!("https://{host}")));
        }
        let (sender, connection) = http1::handshake(io).await?;
        tokio::spawn(connection);
        Ok(Client::Http1(sender, address))
    }

    /// Sends a request and collects the answer.
    pub async fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> hyper::Result<Answer> {
        let (head, body) = self.begin(method, target, headers, body).await?.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned();
        let (status, version, headers) = (head.status.as_u16(), head.version, head.headers);
        Ok(Answer { status, version, headers, trailers, body: body.to_bytes() })
    }

    /// Sends a request without a body, and gives `each` piece of the answer as it comes; fails where it breaks off.
    pub async fn read(&mut self, method: &str, target: &str, headers: &[(&str, &str)], mut each: impl FnMut(Bytes)) {
        let mut body = self.begin(method, target, headers, "").await.unwrap().into_body();
        while let Some(frame) = body.frame().await {
            if let Ok(piece) = frame.unwrap().into_data() {
                each(piece);
            }
        }
    }

    /// Sends a request; the answer is read up to its head.
    async fn begin(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> hyper::Result<Response<Incoming>> {
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        *request.uri_mut() = match self {
            Client::Http1(..) => target.parse().unwrap(),
            Client::Http2(_, base) => format!("{base}{target}").parse().unwrap(),
        };
        for (name, value) in headers {
            request
                .headers_mut()
                .append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        match self {
            Client::Http1(sender, address) => {
                if !request.headers().contains_key("host") {
                    request.headers_mut().insert("host", address.to_string().parse().unwrap());
                }
                sender.ready().await?;
                sender.send_request(request).await
            }
            Client::Http2(sender, _) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

/// What bytes go over.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// One HTTP/1.1 request on a connection of its own.
pub async fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    Client::http1(address).await.send(method, target, headers, body).await.unwrap()
}

/// Sends bytes as they are and reads until the gateway closes; fails after twenty seconds, before its own limits close.
pub async fn raw(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = connect(address).await;
    stream.write_all(bytes.as_ref()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    read.unwrap_or_else(|_| panic!("the connection stays open after {}", String::from_utf8_lossy(&answer))).ok();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}
