//! Calls to upstreams that the operator granted. A call looks blocking; the gateway runs other work meanwhile.

use std::{error, fmt, time::Duration};

use http::StatusCode;

use crate::host::http_client as host;

/// A request to a named upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// A name from the plugin's grants, never an address.
    pub upstream: String,
    /// Any but CONNECT.
    pub method: http::Method,
    /// With the query.
    pub path: String,
    /// Framing, `host` and what belongs to a connection are the gateway's.
    pub headers: Vec<(String, String)>,
    /// Empty for none.
    pub body: Vec<u8>,
    /// In whole milliseconds. [`DEFAULT_TIMEOUT`] unless set.
    pub timeout: Duration,
}

/// One second: long for a neighbour, short for a waiting client.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

impl Request {
    /// Without headers and body, with the default timeout.
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

    /// Waits at most so long, and never longer than the operator allows.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends and waits.
    ///
    /// # Errors
    /// See [`CallError`]. An answer with an error status is no error.
    pub fn send(&self) -> Result<Response, CallError> {
        host::send(self)
    }

    /// Begins the call; [`next`] tells of its end by this number. What is still under way when the hook returns is cancelled.
    ///
    /// # Errors
    /// Only what is known before it is sent.
    pub fn start(&self) -> Result<u32, CallError> {
        host::start(self)
    }

    /// Sends and does not wait.
    ///
    /// # Errors
    /// Only what is known before it is sent.
    pub fn dispatch(&self) -> Result<(), CallError> {
        host::dispatch(self)
    }
}

/// Sends all at once; the answers are in the order of the requests.
#[must_use]
pub fn send_all(requests: &[Request]) -> Vec<Result<Response, CallError>> {
    host::send_all(requests)
}

/// Waits for the first of the calls that [`Request::start`] began to be done, and gives it back once; `None` where none is
/// under way.
#[must_use]
pub fn next() -> Option<(u32, Result<Response, CallError>)> {
    host::next()
}

/// What the upstream answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Whatever it is; an error status is an answer too.
    pub status: StatusCode,
    /// Names are lower-case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// All of it.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header, where it is UTF-8. `name` is lower-case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(have, _)| have == name)?;
        str::from_utf8(value).ok()
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// Not in the plugin's grants.
    UnknownUpstream,
    /// Nothing, or not all, came in time.
    TimedOut,
    /// Why, for the log.
    ConnectionFailed(String),
    /// Over the operator's limit for bodies of plugins.
    ResponseTooLarge,
    /// Too many calls, or a request that is too big.
    LimitExceeded,
    /// In the gateway's words, such as a header it refuses.
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
