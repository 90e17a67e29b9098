//! What can go wrong with a request in the gateway itself: whose fault it is, and what client and operator are told.

use std::borrow::Cow;
use std::sync::Arc;

use http::{StatusCode, header};

use crate::admission::Shed;
use crate::api_versions::{By, Refusal};
use crate::body::{Body, BodyError};
use crate::exchange::{Exchange, Fault, Outcome};
use crate::headers::Reject;
use crate::plugin::{Failure, ServiceError};
use crate::problem;
use crate::rewrite::Unfit;
use crate::upstream::{Reason, SendError};

/// Why the gateway answers in place of an upstream or a plugin.
#[derive(Debug)]
pub(super) enum Error {
    /// The head is ambiguous or not allowed.
    Refused(Reject),
    /// The listener's address lists do not admit the client.
    KeptOut,
    /// The connection's certificate is not for the request's host.
    Misdirected,
    NoRoute,
    /// The request names no version of the API that exists; with the names of those that do.
    Version(Refusal, Vec<Arc<str>>),
    /// The route has as many requests in flight as it may have.
    Shed(Shed),
    /// The request body is longer than the route's limit in bytes.
    TooLarge(u64),
    /// The route has no upstream to send to, and no plugin answered.
    NoTarget,
    /// The rewritten path is not one that may be sent.
    Rewritten,
    RequestBody(BodyError),
    ResponseBody(BodyError),
    Plugin(Failure),
    /// A plugin wants the stream reset.
    Aborted,
    /// A TRACE that may not be forwarded any further, which would have to be reflected.
    NoTrace,
    /// The route does not allow the switch to the protocol that the client insists on.
    NoTunnel,
    /// The upstream did not switch protocols, or did not prove that it did.
    NotSwitched,
    /// The client sent `only-if-cached`, and the cache has no response.
    NotCached,
    /// The client's own deadline has passed.
    Deadline,
    Upstream(SendError),
    /// The service gave no answer.
    Service(ServiceError),
}

impl Error {
    /// Puts the answer into the exchange and returns its body.
    pub fn answer(self, exchange: &mut Exchange) -> Body {
        if let Error::Plugin(failure) = self {
            return failure.answer(exchange).into();
        }
        self.note(&mut exchange.outcome);
        exchange.outcome.aborted |= matches!(self, Error::Aborted);
        let status = self.status();
        let (mut head, body) = problem::answer(status, &self.for_client(), exchange);
        if let Some(seconds) = self.retry_after() {
            head.headers.insert(header::RETRY_AFTER, header::HeaderValue::from(seconds));
        }
        if matches!(self, Error::NoTrace) {
            // A 405 has this field (RFC 9110 section 15.5.6). The gateway itself has no methods.
            head.headers.insert(header::ALLOW, header::HeaderValue::from_static(""));
        }
        if self.must_close() {
            head.headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        }
        exchange.response = head;
        body.into()
    }

    /// Records whose fault it is and what the operator is told.
    pub fn note(&self, outcome: &mut Outcome) {
        outcome.fault = Some(self.fault());
        outcome.error = Some(self.for_operator().into());
    }

    /// Whether a time limit was exceeded.
    pub fn is_about_time(&self) -> bool {
        self.status() == StatusCode::GATEWAY_TIMEOUT
    }

    fn status(&self) -> StatusCode {
        match self {
            Error::Refused(reject) => reject.status(),
            Error::KeptOut => StatusCode::FORBIDDEN,
            Error::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Error::NoRoute => StatusCode::NOT_FOUND,
            Error::Version(Refusal::Unknown(By::Path(_)), _) => StatusCode::NOT_FOUND,
            Error::Version(Refusal::Unknown(By::AcceptParameter(_) | By::MediaType { .. }), _) => {
                StatusCode::NOT_ACCEPTABLE
            }
            Error::Version(Refusal::Unknown(By::Header(_)) | Refusal::Unsaid, _) => StatusCode::BAD_REQUEST,
            Error::TooLarge(_) | Error::RequestBody(BodyError::TooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Error::RequestBody(BodyError::TimedOut) => StatusCode::REQUEST_TIMEOUT,
            Error::RequestBody(BodyError::Expectation) => StatusCode::EXPECTATION_FAILED,
            Error::RequestBody(_) => StatusCode::BAD_REQUEST,
            Error::ResponseBody(_) => StatusCode::BAD_GATEWAY,
            Error::Shed(_) => StatusCode::SERVICE_UNAVAILABLE,
            Error::NoTarget => StatusCode::INTERNAL_SERVER_ERROR,
            Error::Rewritten => StatusCode::BAD_REQUEST,
            Error::Plugin(failure) => failure.status(),
            Error::Aborted => StatusCode::INTERNAL_SERVER_ERROR,
            Error::NoTrace => StatusCode::METHOD_NOT_ALLOWED,
            Error::NoTunnel => StatusCode::NOT_IMPLEMENTED,
            Error::NotSwitched => StatusCode::BAD_GATEWAY,
            Error::Deadline | Error::NotCached => StatusCode::GATEWAY_TIMEOUT,
            Error::Upstream(error) => error.status(),
            Error::Service(error) => error.status(),
        }
    }

    /// One sentence without internal details.
    fn for_client(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Error::Version(Refusal::Unknown(by), names) => {
                return Cow::Owned(format!(
                    "There is no such version as {by} asks for. There are: {}.",
                    names.join(", ")
                ));
            }
            Error::Version(Refusal::Unsaid, names) => {
                return Cow::Owned(format!(
                    "The request does not say which version it is for. There are: {}.",
                    names.join(", ")
                ));
            }
            Error::Refused(reject) => reject.detail(),
            Error::KeptOut => "Your address is not let in.",
            Error::Misdirected => "This connection is for other hosts.",
            Error::NoRoute => "No route matches this request.",
            Error::Shed(_) => "There are too many requests at the moment. Try again later.",
            Error::TooLarge(_) | Error::RequestBody(BodyError::TooLarge(_)) => "The request body is too large.",
            Error::RequestBody(BodyError::TimedOut) => LATE_BODY,
            Error::RequestBody(BodyError::Expectation) => UNASKED,
            Error::RequestBody(_) => UNREADABLE_BODY,
            Error::ResponseBody(_) => "The upstream's answer could not be read.",
            Error::NoTarget => "This route has nowhere to send the request.",
            Error::Rewritten => "The path cannot be rewritten.",
            Error::Plugin(_) | Error::Aborted => "A policy of this route failed.",
            Error::NoTrace => "Requests are not reflected here.",
            Error::NoTunnel => "This route does not switch to that protocol.",
            Error::NotSwitched => "The upstream did not switch to that protocol.",
            Error::NotCached => "Nothing is remembered that answers this request.",
            Error::Deadline => "The deadline is over.",
            Error::Service(error) => match error.status() {
                StatusCode::GATEWAY_TIMEOUT => "The service did not answer in time.",
                StatusCode::SERVICE_UNAVAILABLE => "The service takes no requests at the moment.",
                _ => "The service gave no valid answer.",
            },
            Error::Upstream(error) => match error.status() {
                StatusCode::GATEWAY_TIMEOUT => "The upstream did not answer in time.",
                StatusCode::SERVICE_UNAVAILABLE => "The upstream takes no requests at the moment.",
                StatusCode::PAYLOAD_TOO_LARGE => "The request body is too large.",
                StatusCode::EXPECTATION_FAILED => UNASKED,
                StatusCode::REQUEST_TIMEOUT => LATE_BODY,
                StatusCode::BAD_REQUEST if self.request_body().is_some() => UNREADABLE_BODY,
                status if status.is_client_error() => "The request could not be sent on as it is.",
                _ => "The upstream could not be reached or gave no valid answer.",
            },
        })
    }

    fn for_operator(&self) -> String {
        match self {
            Error::Refused(reject) => format!("refused: {}", reject.detail()),
            Error::KeptOut => "the listener keeps the client's address out".into(),
            Error::Misdirected => "the connection's certificate is not for the request's host".into(),
            Error::NoRoute => "no route matches".into(),
            Error::Version(Refusal::Unknown(by), _) => format!("{by} asks for a version that is not there"),
            Error::Version(Refusal::Unsaid, _) => "no version is asked for, and there is no default".into(),
            Error::Shed(shed) => format!("the route has {} requests already, which is its limit", shed.requests),
            Error::TooLarge(limit) => format!("the request body is longer than {limit} bytes"),
            Error::NoTarget => "no plugin answered, and the route has no \"to\"".into(),
            Error::Rewritten => "the rewritten path has a segment . or .., or is too long".into(),
            Error::RequestBody(error) => format!("request body: {error}"),
            Error::ResponseBody(error) => format!("response body: {error}"),
            Error::Plugin(failure) => failure.to_string(),
            Error::Aborted => "a plugin ended the exchange".into(),
            Error::NoTrace => "a TRACE with \"Max-Forwards: 0\", and requests are not reflected".into(),
            Error::NoTunnel => "the route's \"upgrades\" do not have the protocol that was asked for".into(),
            Error::NotSwitched => "the upstream did not switch the protocol as it was asked to".into(),
            Error::NotCached => "only-if-cached, and nothing is".into(),
            Error::Deadline => "no complete answer came before the deadline that the client set".into(),
            Error::Upstream(error) => error.to_string(),
            Error::Service(error) => format!("the service failed: {error}"),
        }
    }

    /// Why the request body broke off, whoever was reading it.
    fn request_body(&self) -> Option<&BodyError> {
        match self {
            Error::RequestBody(error) => Some(error),
            Error::Upstream(SendError { reason: Reason::RequestBody(error), .. }) => Some(error),
            _ => None,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            _ if self.request_body().is_some_and(BodyError::is_clients_end) => Fault::ClientLeft,
            Error::RequestBody(BodyError::TimedOut) | Error::ResponseBody(BodyError::TimedOut) => Fault::TimedOut,
            Error::Upstream(error) if error.status() == StatusCode::REQUEST_TIMEOUT => Fault::TimedOut,
            Error::Refused(_)
            | Error::KeptOut
            | Error::Misdirected
            | Error::NoRoute
            | Error::Version(..)
            | Error::Shed(_)
            | Error::TooLarge(_)
            | Error::Rewritten
            | Error::RequestBody(_)
            | Error::NotCached
            | Error::NoTrace
            | Error::NoTunnel => Fault::Request,
            Error::Plugin(_) | Error::Aborted => Fault::Plugin,
            Error::Upstream(error) if error.is_clients_fault() => Fault::Request,
            Error::Deadline => Fault::TimedOut,
            Error::Service(error) if error.status() == StatusCode::GATEWAY_TIMEOUT => Fault::TimedOut,
            Error::Upstream(error) if error.status() == StatusCode::GATEWAY_TIMEOUT => Fault::TimedOut,
            Error::NoTarget | Error::NotSwitched | Error::ResponseBody(_) | Error::Upstream(_) | Error::Service(_) => {
                Fault::Upstream
            }
        }
    }

    /// In whole seconds, if the same request may succeed a moment later.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Error::Shed(shed) => Some(shed.retry_after.as_secs().max(1)),
            Error::Upstream(error) if error.is_overload() => Some(1),
            Error::Service(ServiceError::Busy) => Some(1),
            _ => None,
        }
    }

    /// Whether the bytes that follow on the connection cannot be trusted, or may be long in coming.
    fn must_close(&self) -> bool {
        matches!(self, Error::Refused(_) | Error::RequestBody(_)) || self.status() == StatusCode::REQUEST_TIMEOUT
    }
}

impl From<Unfit> for Error {
    fn from(Unfit: Unfit) -> Error {
        Error::Rewritten
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Error {
        Error::Upstream(error)
    }
}

const LATE_BODY: &str = "The request body did not come in time.";
const UNREADABLE_BODY: &str = "The request body could not be read.";

/// For an HTTP/2 client that waits for a 100 before it sends its body.
const UNASKED: &str = "There is no 100 Continue over HTTP/2 here: send the request body without waiting for it.";
