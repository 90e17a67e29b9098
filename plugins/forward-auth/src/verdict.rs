//! The meaning of a response.

use gatewright_sdk::{
    Response, StatusCode,
    http_client::{self, CallError},
};

use crate::Config;

/// The decision of the authorization server, or that it made none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The request may pass.
    Pass,
    /// The client gets this response.
    Refuse(Response),
    /// There is no decision.
    Failed(Failure),
}

/// Why there is no decision.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The metric's label.
    pub(crate) reason: &'static str,
    pub(crate) status: StatusCode,
    /// For the operator's log.
    pub(crate) why: String,
}

impl Failure {
    pub(crate) fn unclear(why: impl Into<String>) -> Self {
        Self { reason: "unclear", status: StatusCode::BAD_GATEWAY, why: why.into() }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let (reason, status) = match error {
            CallError::TimedOut => ("timeout", StatusCode::GATEWAY_TIMEOUT),
            CallError::ConnectionFailed(_) | CallError::LimitExceeded => {
                ("unreachable", StatusCode::SERVICE_UNAVAILABLE)
            }
            CallError::UnknownUpstream | CallError::ResponseTooLarge | CallError::Other(_) => {
                ("unclear", StatusCode::BAD_GATEWAY)
            }
        };
        Self { reason, status, why: error.to_string() }
    }
}

/// 2xx lets pass; the statuses that `config` lists are returned to the client; anything else is no decision.
pub(crate) fn judge(config: &Config, answer: &http_client::Response) -> Verdict {
    let status = answer.status;
    if status.is_success() {
        return Verdict::Pass;
    }
    let is_redirect = config.redirects && REDIRECTS.contains(&status);
    if !is_redirect && !config.refusals.contains(&status.as_u16()) {
        return Verdict::Failed(Failure::unclear(format!("the answer was {status}")));
    }
    match refusal(config, answer, is_redirect) {
        Some(response) => Verdict::Refuse(response),
        None => Verdict::Failed(Failure::unclear("a header of the answer is not text")),
    }
}

/// The response with what the client may see of it. If it has no body, it gets one that repeats the status.
fn refusal(config: &Config, answer: &http_client::Response, is_redirect: bool) -> Option<Response> {
    let phrase = answer.status.canonical_reason().unwrap_or("Refused");
    let mut response = match answer.body.is_empty() {
        true if is_redirect => Response::new(answer.status),
        true => Response::problem(answer.status, phrase, "The request was refused."),
        false => Response { body: answer.body.clone(), ..Response::new(answer.status) },
    };
    let of_the_body = |name: &str| !answer.body.is_empty() && OF_A_BODY.contains(&name);
    let listed = |name: &str| config.refusal_headers.iter().any(|listed| listed.eq_ignore_ascii_case(name));
    for (name, value) in &answer.headers {
        // Headers about the original body must not be applied to ours.
        if of_the_body(name) || (listed(name) && !OF_A_BODY.contains(&name.as_str())) {
            response = response.with_header(name.as_str(), str::from_utf8(value).ok()?);
        }
    }
    Some(response)
}

/// Every value of a header, or `None` if one is not text.
pub(crate) fn values<'a>(answer: &'a http_client::Response, name: &str) -> Option<Vec<&'a str>> {
    let named = answer.headers.iter().filter(|(have, _)| have.eq_ignore_ascii_case(name));
    named.map(|(_, value)| str::from_utf8(value).ok()).collect()
}

const REDIRECTS: [StatusCode; 5] = [
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::FOUND,
    StatusCode::SEE_OTHER,
    StatusCode::TEMPORARY_REDIRECT,
    StatusCode::PERMANENT_REDIRECT,
];

/// Headers that are only true of their own body.
const OF_A_BODY: [&str; 3] = ["content-encoding", "content-language", "content-type"];
