//! The two head blocks of an exchange, in parts that plugins may change one by one.

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

/// The request line and headers: checked, normalised and without hop-by-hop fields (`headers::from_downstream`).
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub method: Method,
    /// The scheme that the client used, even behind a trusted proxy.
    pub scheme: Scheme,
    /// Path and query in normal form, or `*`.
    pub target: PathAndQuery,
    /// With exactly one Host field, which holds the authority.
    pub headers: HeaderMap,
}

/// The status and headers of the response. The status is `None` until there is a response (0 in the contract).
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    pub status: Option<StatusCode>,
    pub headers: HeaderMap,
}

/// The trailers of both bodies, from their arrival until they are sent on. Boxed, since most messages have none.
#[derive(Clone, Debug, Default)]
pub struct Trailers {
    pub request: Option<Box<HeaderMap>>,
    pub response: Option<Box<HeaderMap>>,
}

/// The request for the log: as it was received, before plugins changed it.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: Method,
    pub target: PathAndQuery,
    pub host: Option<HeaderValue>,
    pub user_agent: Option<HeaderValue>,
    /// A gRPC request; errors are answered in gRPC's own format.
    pub is_grpc: bool,
}

impl RequestHead {
    /// The host, with the port if there is one; empty if it is not text.
    pub fn authority(&self) -> &str {
        self.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
    }

    /// The authority as the client knows it: `host` if a trusted proxy reported one, otherwise that of the request.
    pub fn authority_told<'a>(&'a self, host: Option<&'a HeaderValue>) -> &'a str {
        host.and_then(|host| host.to_str().ok()).unwrap_or_else(|| self.authority())
    }

    /// The facts that the log keeps.
    pub fn received(&self) -> Received {
        Received {
            method: self.method.clone(),
            target: self.target.clone(),
            host: self.headers.get(header::HOST).cloned(),
            user_agent: self.headers.get(header::USER_AGENT).cloned(),
            is_grpc: false,
        }
    }
}
