//! Errors in a request or a response, before or instead of a gRPC status.

use gatewright_sdk::{Response, StatusCode};
use serde_json::json;

use crate::Code;

/// A request that is not sent on, or a response that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub code: Code,
    /// One sentence for the client.
    pub detail: String,
    /// The allowed methods, if the method was wrong.
    pub allow: Option<String>,
}

impl Refusal {
    #[must_use]
    pub fn new(status: StatusCode, code: Code, detail: &str) -> Self {
        Self { status, code, detail: detail.to_owned(), allow: None }
    }

    /// The request is not valid.
    #[must_use]
    pub fn bad(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, detail)
    }

    /// The upstream's response is not valid.
    #[must_use]
    pub fn answer(detail: &str) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, Code::Internal, detail)
    }

    /// As `application/problem+json`, with additional `code` and `message`, so that it can also be read as a
    /// `google.rpc.Status`.
    #[must_use]
    pub fn response(&self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let mut response = Response::problem(self.status, title, &self.detail);
        let body = json!({
            "type": "about:blank", "title": title, "status": self.status.as_u16(), "detail": self.detail,
            "code": self.code as i32, "message": self.detail,
        });
        response.body = body.to_string().into_bytes();
        match &self.allow {
            Some(methods) => response.with_header("allow", methods.as_str()),
            None => response,
        }
    }
}
