//! The answers to who is not let in (RFC 6750 section 3), made once where they do not depend on the token.

use gatewright_sdk::{Response, StatusCode, credential::Location, jwt::VerifyError, rules};

pub(crate) struct Refusals {
    /// No token: no error code either (RFC 6750 section 3.1).
    pub(crate) missing: Refusal,
    pub(crate) unclear: Refusal,
    pub(crate) insufficient: Refusal,
    /// A good token of nobody we know.
    pub(crate) ownerless: Refusal,
    /// The one refusal that is not the client's fault.
    pub(crate) unavailable: Refusal,
    challenge: String,
}

pub(crate) struct Refusal {
    /// The metric's label.
    pub(crate) reason: &'static str,
    pub(crate) response: Response,
}

impl Refusals {
    /// # Errors
    /// Names the text that cannot be in a header.
    pub(crate) fn new(realm: &str, scopes: &[String], from: &Location) -> Result<Self, String> {
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
                response: Response::problem(
                    StatusCode::FORBIDDEN,
                    "Forbidden",
                    "The token does not allow this request.",
                )
                .with_header("www-authenticate", insufficient),
            },
            ownerless: Refusal {
                reason: "unknown",
                response: Response::problem(StatusCode::FORBIDDEN, "Forbidden", "The token is not of a known consumer."),
            },
            unavailable: Refusal {
                reason: "keys-unavailable",
                response: Response::problem(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "Service Unavailable",
                    "Tokens cannot be checked at the moment.",
                )
                .with_header("retry-after", "5"),
            },
            challenge,
        })
    }

    /// Says why, in words that are fixed and so tell nothing but the reason.
    pub(crate) fn invalid(&self, error: &VerifyError) -> Refusal {
        let why = match error {
            VerifyError::Other(_) => "the token is not valid".to_owned(),
            error => error.to_string(),
        };
        let challenge =
            format!("{}, error=\"invalid_token\", error_description={}", self.challenge, rules::quoted(&why));
        let reason = match error {
            VerifyError::Expired => "expired",
            _ => "invalid",
        };
        Refusal { reason, response: unauthorized("The token is not valid.", challenge) }
    }
}

fn unauthorized(detail: &str, challenge: String) -> Response {
    Response::problem(StatusCode::UNAUTHORIZED, "Unauthorized", detail).with_header("www-authenticate", challenge)
}
