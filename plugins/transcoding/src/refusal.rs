//! What is wrong with a request or an answer, before or instead of a status of gRPC.

use gatewright_sdk::{Response, StatusCode};
use serde_json::json;

use crate::Code;

/// A request that is not sent on, or an answer that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub code: Code,
    /// One sentence for the client.
    pub detail: String,
    /// The methods that there are, where it was the wrong one.
    pub allow: Option<String>,
}

impl Refusal {
    #[must_use]
    pub fn new(status: StatusCode, code: Code, detail: &str) -> Self {
        Self { status, code, detail: detail.to_owned(), allow: None }
    }

    /// The request is not as it should be.
    #[must_use]
    pub fn bad(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, detail)
    }

    /// The upstream's answer is not as it should be.
    #[must_use]
    pub fn answer(detail: &str) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, Code::Internal, detail)
    }

    /// As `application/problem+json`, with `code` and `message` beside, so that it also reads as a `google.rpc.Status`.
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
