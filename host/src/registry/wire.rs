//! One request over one connection, and its bounded response.

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Error, Settings};
use crate::tls::{Alpn, Connector};

/// A response whose body is still to be read. Dropping it ends the connection.
pub(super) struct Answer {
    pub head: http::response::Parts,
    pub host: String,
    body: Incoming,
    _connection: JoinSet<()>,
}

/// Sends a request with a complete address, over a connection of its own.
pub(super) async fn send(
    settings: &Settings,
    connector: Option<&Connector>,
    mut request: Request<Full<Bytes>>,
) -> Result<Answer, Error> {
    let Some(authority) = request.uri().authority().cloned() else {
        return Err(Error::Strange { host: "the registry".to_owned(), what: "an address without a host".to_owned() });
    };
    let host = authority.as_str().to_owned();
    let unreachable = |reason: String| Error::Unreachable { host: host.clone(), reason };
    let connecting = connect(&authority, connector);
    let stream = timeout(settings.connect_timeout, connecting).await;
    let stream = stream.map_err(|_| unreachable(format!("no connection within {:?}", settings.connect_timeout)))?;
    let stream = stream.map_err(&unreachable)?;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() = path.parse().unwrap_or_default();
    let name = HeaderValue::from_str(&host).map_err(|error| unreachable(error.to_string()))?;
    request.headers_mut().insert(header::HOST, name);
    request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
    let broken = |error: hyper::Error| unreachable(chain(&error));
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let mut task = JoinSet::new();
    task.spawn(async move { drop(connection.await) });
    let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
    Ok(Answer { head, host, body, _connection: task })
}

impl Answer {
    /// Passes each piece of the body to the sink.
    pub async fn stream(
        mut self,
        what: &str,
        limit: usize,
        mut take: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let too_large = || Error::TooLarge { what: what.to_owned(), limit };
        if self.body.size_hint().lower() > limit as u64 {
            return Err(too_large());
        }
        let mut bytes = 0_usize;
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| Error::Unreachable {
                host: self.host.clone(),
                reason: format!("{what} broke off: {}", chain(&error)),
            })?;
            let Ok(data) = frame.into_data() else { continue };
            bytes = bytes.saturating_add(data.len());
            if bytes > limit {
                return Err(too_large());
            }
            take(&data)?;
        }
        Ok(())
    }

    /// The whole body.
    pub async fn collect(self, what: &str, limit: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.stream(what, limit, |data| {
            bytes.extend_from_slice(data);
            Ok(())
        })
        .await?;
        Ok(bytes)
    }

    /// The error for a response that refuses, in the registry's words if it has any.
    pub async fn refusal(self) -> Error {
        let (host, status) = (self.host.clone(), self.head.status);
        let body = self.collect("the answer", REFUSAL_BYTES).await.unwrap_or_default();
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |at: &str| value.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let said = [text("/errors/0/code"), text("/errors/0/message")].map(clean);
        let reason = match said.each_ref().map(String::as_str) {
            ["", ""] => hint(status).to_owned(),
            ["", one] | [one, ""] => one.to_owned(),
            [code, message] => format!("{code}: {message}"),
        };
        Error::Refused { host, status: status.as_u16(), reason }
    }

    /// The media type of the body; "text/html" if a page was sent instead.
    pub fn content_type(&self) -> &str {
        let value = self.head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        value.and_then(|value| value.split(';').next()).unwrap_or_default().trim()
    }
}

/// A byte stream, with TLS or without.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(authority: &Authority, connector: Option<&Connector>) -> Result<Box<dyn Stream>, String> {
    let port = authority.port_u16().unwrap_or(if connector.is_some() { 443 } else { 80 });
    let host = authority.host().trim_matches(['[', ']']);
    let socket = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
    let _ = socket.set_nodelay(true);
    let Some(connector) = connector else { return Ok(Box::new(socket)) };
    let stream = connector.connect(host, Some(Alpn::Http1), socket).await.map_err(|failed| failed.to_string())?;
    Ok(Box::new(stream))
}

/// The address of a path at a host.
pub(super) fn address(scheme: &Scheme, host: &str, path: &str) -> Result<Uri, Error> {
    let uri = Uri::builder().scheme(scheme.clone()).authority(host).path_and_query(path).build();
    uri.map_err(|error| Error::Strange { host: host.to_owned(), what: format!("an address that is none ({error})") })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A short version of untrusted text, safe for a log.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "it wants credentials, or others than it was given",
        StatusCode::FORBIDDEN => "these credentials may not do that",
        StatusCode::NOT_FOUND => "there is no such thing",
        StatusCode::TOO_MANY_REQUESTS => "it was asked too often",
        _ => status.canonical_reason().unwrap_or("it does not say why"),
    }
}

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("gatewright/", env!("CARGO_PKG_VERSION")));
/// The largest head of a response.
const HEAD_BYTES: usize = 64 << 10;
const REFUSAL_BYTES: usize = 64 << 10;
