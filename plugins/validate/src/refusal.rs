//! The response to a request that is not valid.

use gatewright_sdk::{
    Response, StatusCode,
    serde_json::{Value, json},
};

/// What is wrong, as a problem (RFC 9457) with a list of places.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    /// The metric's label.
    pub reason: &'static str,
    detail: String,
    errors: Vec<Value>,
    allow: Option<String>,
}

impl Refusal {
    fn new(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> Self {
        Self { status, reason, detail: detail.into(), errors: Vec::new(), allow: None }
    }

    pub(crate) fn parameters() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "parameters", "The request is not as it should be.")
    }

    pub(crate) fn arguments(most: usize) -> Self {
        let detail = format!("The query has more than {most} arguments.");
        Self::new(StatusCode::BAD_REQUEST, "parameters", detail)
    }

    pub(crate) fn several_types() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "media-type", "The request has several content types.")
    }

    pub(crate) fn body() -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "body", "The body is not as it should be.")
    }

    pub(crate) fn not_json(why: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "not-json", format!("The body is not JSON: {why}."))
    }

    pub(crate) fn no_body() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "no-body", "The request has no body.")
    }

    pub(crate) fn media_type(wanted: &str) -> Self {
        let detail = format!("What is taken here is {wanted}.");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail)
    }

    pub(crate) fn unknown_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "path", "There is nothing at this path.")
    }

    pub(crate) fn unknown_method(allow: String) -> Self {
        let refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", "There is no such method at this path.");
        Self { allow: Some(allow), ..refusal }
    }

    pub(crate) fn missing() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "missing", "The request cannot be checked.")
    }

    /// Records what is wrong at a place.
    pub(crate) fn add(&mut self, part: &str, pointer: String, message: String) {
        if self.errors.len() < MOST_ERRORS {
            self.errors.push(json!({ "in": part, "pointer": pointer, "detail": message }));
        }
    }

    /// Returns the refusal only if something was recorded.
    pub(crate) fn or_nothing(self) -> Result<(), Self> {
        if self.errors.is_empty() { Ok(()) } else { Err(self) }
    }

    pub(crate) fn response(&self) -> Response {
        let title = self.status.canonical_reason().unwrap_or_default();
        let mut problem =
            json!({ "type": "about:blank", "title": title, "status": self.status.as_u16(), "detail": self.detail });
        if let (Some(problem), false) = (problem.as_object_mut(), self.errors.is_empty()) {
            problem.insert("errors".to_owned(), Value::Array(self.errors.clone()));
        }
        let response = Response::new(self.status).with_body("application/problem+json", problem.to_string());
        match &self.allow {
            Some(allow) => response.with_header("allow", allow),
            None => response,
        }
    }
}

const MOST_ERRORS: usize = 20;
