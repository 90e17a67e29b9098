//! A message body on its way through the gateway: one concrete type for every stage of the request path.
//!
//! Bytes stream; nothing here buffers. A body that a plugin or a limit has wrapped is boxed, so that the common
//! bodies (none, one chunk, what hyper reads) cost no allocation.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

/// A request or response body.
#[derive(Default)]
pub enum Body {
    /// No body.
    #[default]
    Empty,
    /// All of it, in memory.
    Full(Bytes),
    /// A body that a peer is still sending.
    Incoming(Incoming),
    /// A wrapped body: for a limit, a plugin's body hook, or the access log's end mark.
    Boxed(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>),
}

impl Body {
    /// Wraps any body.
    pub fn boxed(body: impl http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static) -> Self {
        Body::Boxed(Box::pin(body))
    }

    /// Whether all bytes have been read: either the end as well, or only the end is left, perhaps with trailers. If a
    /// length is announced, a reader that counts has everything by then.
    pub fn is_read(&self) -> bool {
        http_body::Body::is_end_stream(self) || http_body::Body::size_hint(self).exact() == Some(0)
    }

    /// Appends these trailers to the body; they replace its own trailers of the same names.
    pub fn with_trailers(self, trailers: Option<Box<HeaderMap>>) -> Self {
        match trailers.filter(|trailers| !trailers.is_empty()) {
            Some(trailers) => Body::boxed(WithTrailers { body: self, trailers: Some(trailers) }),
            None => self,
        }
    }
}

/// Why a body ended prematurely. The message is for the operator's log, never for a client.
#[derive(Debug)]
pub enum BodyError {
    /// The connection that it came over failed, or its framing was broken.
    Connection(hyper::Error),
    /// The same without further details: the body went through a component.
    Gone,
    /// The same for a client's HTTP/1 connection.
    Client(io::Error),
    /// The same for an HTTP/1.1 connection to an endpoint.
    Upstream(io::Error),
    /// Its chunked framing is invalid.
    Chunks,
    /// It exceeds the limit, which is this many bytes.
    TooLarge(u64),
    /// No byte arrived within the time limit.
    TimedOut,
    /// No byte arrived, because the client waits for a `100 Continue` that it cannot be sent.
    Expectation,
    /// The attempt that it belongs to has ended, and another attempt reads it.
    Superseded,
    /// A plugin's body hook ended it; the text names the plugin and the reason.
    Plugin(String),
}

impl BodyError {
    /// Whether a request body broke off because its client did: the connection was closed or reset, or the stream was.
    /// Otherwise the client, which may still be there, sent what cannot be read.
    pub fn is_clients_end(&self) -> bool {
        match self {
            BodyError::Gone => true,
            BodyError::Client(error) => error.kind() != io::ErrorKind::InvalidData,
            BodyError::Connection(error) => {
                // What h2 finds wrong with a stream or a connection, it resets or closes itself.
                let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
                !cause.is_some_and(h2::Error::is_library)
            }
            _ => false,
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::Connection(error) => write!(f, "the connection failed: {error}"),
            BodyError::Client(error) => write!(f, "the connection failed: {error}"),
            BodyError::Gone => f.write_str("the connection failed"),
            BodyError::Upstream(error) => write!(f, "the endpoint's connection failed: {error}"),
            BodyError::TooLarge(limit) => write!(f, "the body is longer than {limit} bytes"),
            BodyError::TimedOut => f.write_str("no byte of the body came in time"),
            BodyError::Expectation => f.write_str("the client waits for 100 Continue, which is not sent over HTTP/2"),
            BodyError::Chunks => f.write_str("the chunks are not framed as chunks are"),
            BodyError::Superseded => f.write_str("another attempt has the body"),
            BodyError::Plugin(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BodyError::Connection(error) => Some(error),
            BodyError::Client(error) | BodyError::Upstream(error) => Some(error),
            _ => None,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Body::Empty => Poll::Ready(None),
            Body::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Body::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Body::Incoming(incoming) => Pin::new(incoming).poll_frame(context).map_err(BodyError::Connection),
            Body::Boxed(body) => body.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Full(bytes) => bytes.is_empty(),
            Body::Incoming(incoming) => incoming.is_end_stream(),
            Body::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Incoming(incoming) => incoming.size_hint(),
            Body::Boxed(body) => body.size_hint(),
        }
    }
}

/// A body with additional trailers.
struct WithTrailers {
    body: Body,
    /// `None` once they are sent.
    trailers: Option<Box<HeaderMap>>,
}

impl http_body::Body for WithTrailers {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let brought = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) => match frame.into_trailers() {
                Ok(trailers) => Some(trailers),
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            },
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => None,
        };
        let own = self.trailers.take().map(|trailers| *trailers);
        let trailers = match (brought, own) {
            (Some(mut brought), Some(own)) => {
                replace_fields(&mut brought, own);
                Some(brought)
            }
            (brought, own) => brought.or(own),
        };
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

/// Replaces all values of the names in `by`.
pub fn replace_fields(fields: &mut HeaderMap, by: HeaderMap) {
    for name in by.keys() {
        fields.remove(name);
    }
    let mut last = None;
    for (name, value) in by {
        last = name.or(last);
        if let Some(name) = &last {
            fields.append(name, value);
        }
    }
}

impl From<Incoming> for Body {
    fn from(incoming: Incoming) -> Self {
        if http_body::Body::is_end_stream(&incoming) { Body::Empty } else { Body::Incoming(incoming) }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Body::Empty } else { Body::Full(bytes) }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Body::Empty => "Body::Empty",
            Body::Full(_) => "Body::Full",
            Body::Incoming(_) => "Body::Incoming",
            Body::Boxed(_) => "Body::Boxed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_left_is_told_from_one_that_sent_what_cannot_be_read() {
        for (error, expected) in [
            (BodyError::Client(io::ErrorKind::UnexpectedEof.into()), true),
            (BodyError::Client(io::ErrorKind::ConnectionReset.into()), true),
            (BodyError::Client(io::ErrorKind::ConnectionAborted.into()), true),
            (BodyError::Client(io::ErrorKind::InvalidData.into()), false),
            (BodyError::Gone, true),
            (BodyError::TimedOut, false),
            (BodyError::TooLarge(1), false),
            (BodyError::Upstream(io::ErrorKind::UnexpectedEof.into()), false),
        ] {
            assert_eq!(error.is_clients_end(), expected, "{error:?}");
        }
    }
}
