//! The responses for refused requests (RFC 6750 section 3), made once if they do not depend on the token.

use http::StatusCode;

use crate::{Response, credential::Location, rules};

#[derive(Debug)]
pub(super) struct Refusals {
    /// No token: no error code either (RFC 6750 section 3.1).
    pub(super) missing: Refusal,
    pub(super) unclear: Refusal,
    pub(super) insufficient: Refusal,
    /// A valid token that belongs to no known consumer.
    pub(super) ownerless: Refusal,
    /// The one refusal that is not the client's fault.
    pub(super) unavailable: Response,
    challenge: String,
}

#[derive(Debug)]
pub(super) struct Refusal {
    /// The metric's label.
    pub(super) reason: &'static str,
    pub(super) response: Response,
}

impl Refusals {
    /// # Errors
    /// Names the text that cannot be in a header.
    pub(super) fn new(realm: &str, scopes: &[String], from: &Location) -> Result<Self, String> {
        rules::check_value(realm).map_err(|why| format!("realm: {realm:?} {why}"))?;
        for scope in scopes {
            // RFC 6749 section 3.3.
            let valid = |byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
            if scope.is_empty() || !scope.bytes().all(valid) {
                return Err(format!("scopes: {scope:?} is not a scope"));
            }
        }
        let challenge = format!("Bearer realm={}", rules::quoted(realm));
        let mut insufficient = format!("{challenge}, error=\"insufficient_scope\"");
        if !scopes.is_empty() {
            insufficient.push_str(&format!(", scope=\"{}\"", scopes.join(" ")));
        }
        let forbidden = |detail: &str| Response::problem(StatusCode::FORBIDDEN, "Forbidden", detail);
        let unavailable = "Tokens cannot be checked at the moment.";
        Ok(Self {
            missing: Refusal {
                reason: "missing",
                response: unauthorized(&format!("A token is needed in {from}."), challenge.clone()),
            },
            unclear: Refusal {
                reason: "unclear",
                response: unauthorized(
                    &format!("There must be exactly one token in {from}."),
                    format!("{challenge}, error=\"invalid_request\""),
                ),
            },
            insufficient: Refusal {
                reason: "insufficient",
                response: forbidden("The token does not allow this request.")
                    .with_header("www-authenticate", insufficient),
            },
            ownerless: Refusal { reason: "unknown", response: forbidden("The token is not of a known consumer.") },
            unavailable: Response::problem(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable", unavailable)
                .with_header("retry-after", "5"),
            challenge,
        })
    }

    pub(super) fn invalid(&self, why: &str) -> Response {
        let challenge =
            format!("{}, error=\"invalid_token\", error_description={}", self.challenge, rules::quoted(why));
        unauthorized("The token is not valid.", challenge)
    }
}

fn unauthorized(detail: &str, challenge: String) -> Response {
    Response::problem(StatusCode::UNAUTHORIZED, "Unauthorized", detail).with_header("www-authenticate", challenge)
}
