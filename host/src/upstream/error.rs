//! Why a request got no response: what the operator reads, and what status the client gets.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::body::BodyError;
use crate::telemetry::metrics::UpstreamFailure;
use crate::tls;

/// A request that got no response from an upstream. The text names the upstream and the endpoint and is for the
/// operator's log; the client is told only the status.
#[derive(Debug)]
pub struct SendError {
    pub upstream: Arc<str>,
    /// The endpoint, if one had been chosen.
    pub endpoint: Option<Arc<str>>,
    pub reason: Reason,
}

/// Why there is no response.
#[derive(Debug)]
pub enum Reason {
    /// The upstream has no endpoint that takes requests.
    NoEndpoint,
    /// The upstream's limit of concurrent requests is reached.
    TooManyRequests(usize),
    /// All connections are taken, and none became free while the request could wait, or too many requests wait already.
    Overloaded,
    /// No connection could be made.
    Connect(io::Error),
    /// A connection was made, but the TLS handshake failed or the endpoint is not trusted.
    Handshake(tls::Failed),
    /// No connection was made within this time.
    ConnectTimeout(Duration),
    /// The response did not begin within this time.
    ResponseTimeout(Duration),
    /// The attempt got no response within the route's limit per attempt.
    AttemptTimeout(Duration),
    /// The request got no response within the route's limit for all attempts.
    RequestTimeout(Duration),
    /// The connection, or the HTTP/2 stream, ended before a response began.
    Closed(Box<dyn Error + Send + Sync>),
    /// What arrived cannot be passed on as a response: malformed, ambiguous, too large, or a protocol switch that
    /// nobody asked for.
    BadResponse(BadResponse),
    /// Reading the client's request body failed.
    RequestBody(BodyError),
    /// The request body ended before its announced length.
    ShortRequestBody,
    /// A time limit of the route was over, and the client had not sent the whole request yet.
    LateRequestBody(Duration),
    /// The request's authority cannot be written into an HTTP/2 request.
    Authority,
    /// CONNECT: this gateway opens no tunnels.
    Tunnel,
}

/// What is wrong with a response.
#[derive(Debug)]
pub enum BadResponse {
    /// Its bytes are not HTTP, or its header block is over a limit.
    Malformed(Box<dyn Error + Send + Sync>),
    /// The connection ended in the middle of the header block.
    Truncated,
    /// More informational (1xx) responses than the limit.
    Informational,
    /// 101, although no protocol switch was requested, or not this protocol.
    SwitchingProtocols,
    /// Both `Transfer-Encoding` and `Content-Length` (RFC 9112, section 6.3).
    TwoLengths,
    /// Any transfer coding other than a single `chunked`, or any at all in a version other than HTTP/1.1.
    TransferEncoding,
    /// A chunk whose size or end does not conform to RFC 9112, section 7.1.
    Chunks,
    /// `Content-Length` more than once, or not a number.
    ContentLength,
    /// More header fields than this.
    TooManyHeaders(usize),
}

impl Reason {
    /// The failure that it counts as; `None` if the endpoints are not to blame.
    pub(super) fn failure(&self) -> Option<UpstreamFailure> {
        Some(match self {
            Reason::NoEndpoint => UpstreamFailure::NoEndpoint,
            Reason::TooManyRequests(_) | Reason::Overloaded => UpstreamFailure::Overloaded,
            Reason::Connect(_) => UpstreamFailure::Connect,
            Reason::Handshake(_) => UpstreamFailure::Tls,
            Reason::ConnectTimeout(_) => UpstreamFailure::ConnectTimeout,
            Reason::ResponseTimeout(_) | Reason::AttemptTimeout(_) | Reason::RequestTimeout(_) => {
                UpstreamFailure::ResponseTimeout
            }
            Reason::Closed(_) => UpstreamFailure::Closed,
            Reason::BadResponse(_) => UpstreamFailure::BadResponse,
            Reason::RequestBody(_)
            | Reason::ShortRequestBody
            | Reason::LateRequestBody(_)
            | Reason::Authority
            | Reason::Tunnel => return None,
        })
    }

    /// The reason if a time limit of the route ended a request that the client had not sent completely.
    pub(super) fn of_a_slow_client(self) -> Reason {
        match self {
            Reason::AttemptTimeout(limit) | Reason::RequestTimeout(limit) => Reason::LateRequestBody(limit),
            reason => reason,
        }
    }
}

impl SendError {
    /// The status that the client gets.
    pub fn status(&self) -> StatusCode {
        match &self.reason {
            Reason::NoEndpoint | Reason::TooManyRequests(_) | Reason::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Reason::ConnectTimeout(_)
            | Reason::ResponseTimeout(_)
            | Reason::AttemptTimeout(_)
            | Reason::RequestTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Reason::Connect(_) | Reason::Handshake(_) | Reason::Closed(_) | Reason::BadResponse(_) => {
                StatusCode::BAD_GATEWAY
            }
            Reason::RequestBody(BodyError::TooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Reason::RequestBody(BodyError::TimedOut) | Reason::LateRequestBody(_) => StatusCode::REQUEST_TIMEOUT,
            Reason::RequestBody(BodyError::Expectation) => StatusCode::EXPECTATION_FAILED,
            Reason::RequestBody(BodyError::Connection(_) | BodyError::Client(_) | BodyError::Gone)
            | Reason::ShortRequestBody
            | Reason::Authority => StatusCode::BAD_REQUEST,
            Reason::RequestBody(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Reason::Tunnel => StatusCode::NOT_IMPLEMENTED,
        }
    }

    /// Whether the request was never tried because of too much load.
    pub fn is_overload(&self) -> bool {
        matches!(self.reason, Reason::TooManyRequests(_) | Reason::Overloaded)
    }

    /// Whether the client, not the upstream, is to blame.
    pub fn is_clients_fault(&self) -> bool {
        self.status().is_client_error()
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "upstream \"{}\": ", self.upstream)?;
        let endpoint = self.endpoint.as_deref().unwrap_or("no endpoint");
        match &self.reason {
            Reason::NoEndpoint => f.write_str("no endpoint takes requests"),
            Reason::TooManyRequests(limit) => write!(f, "{limit} requests are under way, which is the limit"),
            Reason::Overloaded => write!(f, "{endpoint} has no connection free"),
            Reason::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                write!(f, "{endpoint} refused the connection")
            }
            Reason::Connect(error) => write!(f, "no connection to {endpoint}: {error}"),
            Reason::Handshake(failed) => write!(f, "no TLS with {endpoint}: {failed}"),
            Reason::ConnectTimeout(time) => write!(f, "no connection to {endpoint} within {time:?}"),
            Reason::ResponseTimeout(time) => write!(f, "{endpoint} did not begin to answer within {time:?}"),
            Reason::AttemptTimeout(time) => write!(f, "{endpoint} did not begin to answer the attempt within {time:?}"),
            Reason::RequestTimeout(time) => {
                write!(f, "{endpoint} did not begin to answer within {time:?} of the request")
            }
            Reason::Closed(error) => {
                let ended = if is_reset(&**error) { "reset the stream" } else { "closed the connection" };
                write!(f, "{endpoint} {ended} before it answered: {}", Chain(&**error))
            }
            Reason::BadResponse(flaw) => write!(f, "{endpoint} sent a bad response: {flaw}"),
            Reason::RequestBody(error) => write!(f, "the request body for {endpoint} failed: {error}"),
            Reason::ShortRequestBody => write!(f, "the request body for {endpoint} ended before its announced length"),
            Reason::LateRequestBody(time) => {
                write!(f, "the client had not sent the whole request for {endpoint} within {time:?}")
            }
            Reason::Authority => write!(f, "the request's host cannot be sent to {endpoint}"),
            Reason::Tunnel => write!(f, "no tunnel is opened to {endpoint}"),
        }
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.reason {
            Reason::Connect(error) => Some(error),
            Reason::Handshake(failed) => Some(failed),
            Reason::Closed(error) | Reason::BadResponse(BadResponse::Malformed(error)) => Some(&**error),
            Reason::RequestBody(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for BadResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadResponse::Malformed(error) => write!(f, "{}", Chain(&**error)),
            BadResponse::Truncated => f.write_str("the connection ended within the header block"),
            BadResponse::Informational => f.write_str("too many informational responses"),
            BadResponse::SwitchingProtocols => f.write_str("101 to a protocol that the request did not ask for"),
            BadResponse::TwoLengths => f.write_str("both Transfer-Encoding and Content-Length"),
            BadResponse::TransferEncoding => f.write_str("a transfer coding other than one \"chunked\" in HTTP/1.1"),
            BadResponse::Chunks => f.write_str("chunks that are not framed as chunks are"),
            BadResponse::ContentLength => f.write_str("Content-Length more than once or not a number"),
            BadResponse::TooManyHeaders(limit) => write!(f, "more than {limit} header fields"),
        }
    }
}

/// Whether an HTTP/2 endpoint ended only the stream, not the connection.
fn is_reset(error: &(dyn Error + 'static)) -> bool {
    error.source().and_then(|cause| cause.downcast_ref::<h2::Error>()).is_some_and(h2::Error::is_reset)
}

/// Shows an error with its causes: hyper's own text often gives only the outermost.
struct Chain<'a>(&'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
