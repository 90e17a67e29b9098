//! What a hook returns.

use http::StatusCode;
use serde::Serialize;

/// What happens after a header hook.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a decision does something only when the hook returns it"]
pub enum Decision {
    /// Go on to the next plugin, with all changes made so far.
    Proceed,
    /// Stop here and answer the client with this response.
    Respond(Response),
    /// Stop here and reset the client's stream.
    Abort,
}

impl Decision {
    /// Answers with [`Response::problem`].
    pub fn problem(status: StatusCode, title: &str, detail: &str) -> Self {
        Self::Respond(Response::problem(status, title, detail))
    }
}

impl From<Response> for Decision {
    fn from(response: Response) -> Self {
        Self::Respond(response)
    }
}

/// What happens after a body hook.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a decision does something only when the hook returns it"]
pub enum BodyDecision {
    /// Send the chunk, and everything held so far, on. Costs no copy.
    Pass,
    /// Keep the chunk back. It is shown again, joined with the next chunk, or with several if much of the body has been
    /// shown repeatedly, so that a body in small chunks costs no more than its length. At the end of the body this is
    /// `Pass`.
    Hold,
    /// Send these bytes instead of the chunk and everything held so far.
    Replace(Vec<u8>),
    /// Stop here and answer the client. If the response has begun, the stream is reset instead.
    Respond(Response),
    /// Stop here and reset the client's stream.
    Abort,
}

impl From<Response> for BodyDecision {
    fn from(response: Response) -> Self {
        Self::Respond(response)
    }
}

/// A response made by a plugin. The gateway adds `content-length`; a plugin that sets it is refused as for a bad
/// header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// From 200 to 599; any other is replaced by 500.
    pub status: StatusCode,
    /// In the order in which they are sent.
    pub headers: Vec<(String, String)>,
    /// At most what the operator lets a plugin pass at once, 2 MiB unless set.
    pub body: Vec<u8>,
}

impl Response {
    /// No headers, no body.
    #[must_use]
    pub const fn new(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// `text/plain` in UTF-8.
    #[must_use]
    pub fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self::new(status).with_body("text/plain; charset=utf-8", body.into())
    }

    /// `application/json`.
    ///
    /// # Errors
    /// As `serde_json`: a map whose keys are not text, or a `Serialize` that fails.
    pub fn json(status: StatusCode, value: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self::new(status).with_body("application/json", serde_json::to_vec(value)?))
    }

    /// Problem details (RFC 9457), `application/problem+json`. The type is `about:blank`, so `title` should be the
    /// phrase of the status (section 4.2.1); `detail` tells the client about this case.
    #[must_use]
    pub fn problem(status: StatusCode, title: &str, detail: &str) -> Self {
        #[derive(Serialize)]
        struct Problem<'a> {
            r#type: &'a str,
            title: &'a str,
            status: u16,
            detail: &'a str,
        }
        let problem = Problem { r#type: "about:blank", title, status: status.as_u16(), detail };
        // Three texts and a number always serialize; an empty body would still carry the status.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        Self::new(status).with_body("application/problem+json", body)
    }

    /// Adds a header and keeps those of the same name.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body and adds its `content-type`.
    #[must_use]
    pub fn with_body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.with_header("content-type", content_type)
    }

    /// The first value of a header. `name` is lower-case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_json_whatever_the_detail_says() {
        let Decision::Respond(response) = Decision::problem(StatusCode::FORBIDDEN, "Forbidden", "a \"quoted\"\r\nword")
        else {
            panic!("not a response")
        };
        assert_eq!(response.status, StatusCode::FORBIDDEN);
        assert_eq!(response.header("Content-Type"), Some("application/problem+json"));
        assert_eq!(
            String::from_utf8_lossy(&response.body),
            r#"{"type":"about:blank","title":"Forbidden","status":403,"detail":"a \"quoted\"\r\nword"}"#
        );
    }

    #[test]
    fn headers_are_added_in_order() {
        let response = Response::text(StatusCode::OK, "hi").with_header("x-a", "1").with_header("x-a", "2");
        assert_eq!(response.header("x-a"), Some("1"));
        assert_eq!(response.headers.len(), 3);
        assert_eq!(response.body, b"hi");
    }
}
