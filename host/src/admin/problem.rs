//! Refusals, as `application/problem+json` (RFC 9457).

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Map, Value, json};

use super::{Diagnostic, Refused};

/// A refusal: its members, its status, and at most one header that belongs to it.
pub(super) struct Problem {
    status: StatusCode,
    members: Box<Map<String, Value>>,
    header: Option<(HeaderName, &'static str)>,
}

impl Problem {
    /// `detail` is one sentence for the person who made the request.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let mut members = Box::new(Map::new());
        members.insert("title".into(), status.canonical_reason().unwrap_or("Refused").into());
        members.insert("status".into(), status.as_u16().into());
        members.insert("detail".into(), detail.into().into());
        Problem { status, members, header: None }
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = json_response(self.status, &Value::Object(*self.members));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json; charset=utf-8"));
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }

    fn with_member(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.into(), value);
        self
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Stale { current } => {
                Problem::new(StatusCode::PRECONDITION_FAILED, "The configuration has changed since: read it again.")
                    .with_member("current", current.into())
            }
            Refused::Unknown(detail) => Problem::new(StatusCode::NOT_FOUND, detail),
            Refused::Unavailable(detail) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail),
            Refused::Invalid { detail, errors, text } => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
                .with_member("errors", errors.into_iter().map(error_member).collect())
                .with_member("text", text.into()),
        }
    }
}

fn error_member(error: Diagnostic) -> Value {
    let Diagnostic { file, line, column, message, help, pointer } = error;
    json!({ "file": file, "line": line, "column": column, "message": message, "help": help, "pointer": pointer })
}

/// A response with a JSON body, indented for people.
pub(super) fn json_response(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    text_response(status, "application/json; charset=utf-8", format!("{value:#}\n"))
}

pub(super) fn text_response(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
