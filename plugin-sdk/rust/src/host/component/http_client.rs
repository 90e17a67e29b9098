//! Calls to granted upstreams.

use http::StatusCode;

use super::{milliseconds, wit::http_client};
use crate::http_client::{CallError, Request, Response};

pub(crate) fn send(request: &Request) -> Result<Response, CallError> {
    with_request(request, |request| response(http_client::send(request)))
}

pub(crate) fn dispatch(request: &Request) -> Result<(), CallError> {
    with_request(request, |request| http_client::dispatch(request).map_err(Into::into))
}

pub(crate) fn start(request: &Request) -> Result<u32, CallError> {
    with_request(request, |request| http_client::start(request).map_err(Into::into))
}

pub(crate) fn next() -> Option<(u32, Result<Response, CallError>)> {
    http_client::next().map(|(number, answer)| (number, response(answer)))
}

pub(crate) fn send_all(requests: &[Request]) -> Vec<Result<Response, CallError>> {
    let headers: Vec<Vec<(&str, &str)>> = requests.iter().map(borrow_headers).collect();
    let requests: Vec<http_client::Request<'_>> =
        requests.iter().zip(&headers).map(|(request, headers)| lower(request, headers)).collect();
    http_client::send_all(&requests).into_iter().map(response).collect()
}

fn with_request<T>(request: &Request, call: impl FnOnce(http_client::Request<'_>) -> T) -> T {
    call(lower(request, &borrow_headers(request)))
}

fn borrow_headers(request: &Request) -> Vec<(&str, &str)> {
    request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn lower<'a>(request: &'a Request, headers: &'a [(&'a str, &'a str)]) -> http_client::Request<'a> {
    http_client::Request {
        upstream: &request.upstream,
        method: request.method.as_str(),
        path: &request.path,
        headers,
        body: &request.body,
        timeout_ms: milliseconds(request.timeout),
    }
}

fn response(answer: Result<http_client::Response, http_client::CallError>) -> Result<Response, CallError> {
    let http_client::Response { status, headers, body } = answer?;
    let status = StatusCode::from_u16(status).map_err(|_| CallError::Other("not an HTTP status".to_owned()))?;
    Ok(Response { status, headers, body })
}

impl From<http_client::CallError> for CallError {
    fn from(error: http_client::CallError) -> Self {
        match error {
            http_client::CallError::UnknownUpstream => Self::UnknownUpstream,
            http_client::CallError::TimedOut => Self::TimedOut,
            http_client::CallError::ConnectionFailed(why) => Self::ConnectionFailed(why),
            http_client::CallError::ResponseTooLarge => Self::ResponseTooLarge,
            http_client::CallError::LimitExceeded => Self::LimitExceeded,
            http_client::CallError::Other(text) => Self::Other(text),
        }
    }
}
