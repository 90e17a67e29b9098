//! The gateway's own requests: a plugin's callout, a key set that is fetched. Small, and buffered whole.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::{Ask, Facts, SendError, Upstream};
use crate::body::{Body, BodyError};

impl Upstream {
    /// Sends the request and collects the response, without trailers, within `timeout` for all of it.
    pub async fn call(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
        max_response_bytes: usize,
    ) -> Result<Response<Bytes>, CallError> {
        let answer = async {
            let (ask, mut facts) = (Ask::default(), Facts::default());
            let response = self.send(request.map(Body::from), &ask, &mut facts).await.map_err(CallError::Send)?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, max_response_bytes).collect().await.map_err(|error| match error
                .downcast::<LengthLimitError>(
            ) {
                Ok(_) => CallError::TooLarge(max_response_bytes),
                Err(error) => CallError::Body(error.downcast::<BodyError>().ok().map(|error| *error)),
            })?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        tokio::time::timeout(timeout, answer).await.unwrap_or(Err(CallError::TimedOut(timeout)))
    }
}

/// Why a call has no response. The text is for the operator.
#[derive(Debug)]
pub enum CallError {
    Send(SendError),
    /// The response was not complete within this time.
    TimedOut(Duration),
    /// The response body is longer than this many bytes.
    TooLarge(usize),
    /// The response body broke off.
    Body(Option<BodyError>),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Send(error) => error.fmt(f),
            CallError::TimedOut(time) => write!(f, "no complete answer within {time:?}"),
            CallError::TooLarge(limit) => write!(f, "the answer's body is longer than {limit} bytes"),
            CallError::Body(Some(error)) => write!(f, "the answer's body broke off: {error}"),
            CallError::Body(None) => f.write_str("the answer's body broke off"),
        }
    }
}

impl std::error::Error for CallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CallError::Send(error) => Some(error),
            CallError::Body(Some(error)) => Some(error),
            _ => None,
        }
    }
}
