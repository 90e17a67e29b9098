//! Calls to upstreams that the operator granted. A call looks blocking; the gateway runs other work meanwhile.

use std::{error, fmt, time::Duration};

use http::StatusCode;

use crate::host::http_client as host;

/// A request to a named upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// A name from the plugin's grants, never an address.
    pub upstream: String,
    /// Any method but CONNECT.
    pub method: http::Method,
    /// The path with the query.
    pub path: String,
    /// Framing headers, `host` and connection headers are the gateway's.
    pub headers: Vec<(String, String)>,
    /// Empty for no body.
    pub body: Vec<u8>,
    /// In whole milliseconds. [`DEFAULT_TIMEOUT`] unless set.
    pub timeout: Duration,
}

/// One second: long for a neighbour, short for a waiting client.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

impl Request {
    /// A request without headers and body, with the default timeout.
    #[must_use]
    pub fn new(method: http::Method, upstream: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            upstream: upstream.into(),
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// A GET.
    #[must_use]
    pub fn get(upstream: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new(http::Method::GET, upstream, path)
    }

    /// A POST.
    #[must_use]
    pub fn post(upstream: impl Into<String>, path: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new(http::Method::POST, upstream, path) }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets how long to wait at most; the operator's limit still applies.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends the request and waits for the response.
    ///
    /// # Errors
    /// See [`CallError`]. A response with an error status is no error.
    pub fn send(&self) -> Result<Response, CallError> {
        host::send(self)
    }

    /// Begins the call and returns its number, which [`next`] reports when it is done. Calls still in progress when the
    /// hook returns are cancelled.
    ///
    /// # Errors
    /// Only errors that are known before sending.
    pub fn start(&self) -> Result<u32, CallError> {
        host::start(self)
    }

    /// Sends the request and does not wait for a response.
    ///
    /// # Errors
    /// Only errors that are known before sending.
    pub fn dispatch(&self) -> Result<(), CallError> {
        host::dispatch(self)
    }
}

/// Sends all requests at once; the results are in the order of the requests.
#[must_use]
pub fn send_all(requests: &[Request]) -> Vec<Result<Response, CallError>> {
    host::send_all(requests)
}

/// Waits until one of the calls begun with [`Request::start`] is done, and returns its result, once; `None` if no call
/// is in progress.
#[must_use]
pub fn next() -> Option<(u32, Result<Response, CallError>)> {
    host::next()
}

/// What the upstream answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Any status; error statuses are responses too.
    pub status: StatusCode,
    /// Names are lower-case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header, if it is UTF-8. `name` is lower-case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(have, _)| have == name)?;
        str::from_utf8(value).ok()
    }
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// Not in the plugin's grants.
    UnknownUpstream,
    /// The response did not arrive completely in time.
    TimedOut,
    /// The connection failed; the reason, for the log.
    ConnectionFailed(String),
    /// The response is over the operator's limit for bodies of plugins.
    ResponseTooLarge,
    /// Too many calls, or too large a request.
    LimitExceeded,
    /// Any other reason, in the gateway's words, such as a header that it refuses.
    Other(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownUpstream => f.write_str("the upstream is not granted"),
            Self::TimedOut => f.write_str("timed out"),
            Self::ConnectionFailed(why) => write!(f, "the connection failed: {why}"),
            Self::ResponseTooLarge => f.write_str("the response is too large"),
            Self::LimitExceeded => f.write_str("limit exceeded"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl error::Error for CallError {}
