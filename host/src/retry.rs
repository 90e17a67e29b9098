//! Whether a failed request is sent again, and when.
//!
//! Pure decisions: what happened, the remaining time and the randomness are arguments. The sender asks three questions.
//! [`Policy::repeats`]: may a request of this method be repeated? [`Policy::cause_of`]: is this response a failure that
//! another attempt might avoid? [`Policy::verdict`]: another attempt, or not?
//!
//! A request that the endpoint cannot have received is sent to another endpoint whatever the policy says: that repeats
//! nothing. Everything else needs a cause that the policy lists, a method that may be repeated, an attempt and time
//! that are left, and room in the [`Budget`].

mod backoff;
mod budget;

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};

pub use backoff::Backoff;
pub use budget::{Budget, Share};

/// What is retried, how often and how soon.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Maximum attempts, including the first.
    pub attempts: u32,
    /// Failures that are retried.
    pub causes: Vec<Cause>,
    /// Statuses of responses that are retried.
    pub statuses: Statuses,
    /// Values of `grpc-status` in the head of a response that are retried.
    pub grpc: Vec<u8>,
    /// Methods whose requests may reach an endpoint twice.
    pub methods: Vec<Method>,
    pub backoff: Backoff,
    /// Maximum bytes of a request body that is kept for retries.
    pub max_body: usize,
}

/// A set of statuses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statuses {
    /// Every status from 500 on.
    pub server_errors: bool,
    pub listed: Vec<u16>,
}

/// Why an attempt was not successful.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No connection could be made, or none was free.
    Connect,
    /// The connection or the stream ended before the head of a response had arrived.
    Reset,
    /// The response did not begin in time.
    Timeout,
    /// What arrived cannot be passed on as a response.
    BadResponse,
    /// The status of the response.
    Status,
    /// The gRPC status of the response.
    GrpcStatus,
}

/// An unsuccessful attempt.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// The first is 1.
    pub number: u32,
    pub cause: Cause,
    /// The endpoint cannot have received any of the request.
    pub unsent: bool,
    /// There is an endpoint that has not been tried.
    pub elsewhere: bool,
    /// The request may be sent twice, and all of it is still available.
    pub repeatable: bool,
}

/// What follows an unsuccessful attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Another attempt, after this time.
    Again(Duration),
    /// There is no other attempt; the result is final.
    Over(End),
}

/// Why there is no other attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The policy does not retry such a request after such a failure.
    Final,
    /// The maximum number of attempts is reached.
    Attempts,
    /// Too many requests have been retried recently.
    Budget,
    /// The request's time would be over before the next attempt could begin.
    Time,
}

impl Policy {
    /// The policy without configuration: tries another endpoint if nothing was sent, and no more.
    pub const fn failover() -> Policy {
        Policy {
            attempts: FAILOVER_ATTEMPTS,
            causes: Vec::new(),
            statuses: Statuses { server_errors: false, listed: Vec::new() },
            grpc: Vec::new(),
            methods: Vec::new(),
            backoff: Backoff::DEFAULT,
            max_body: 0,
        }
    }

    /// Whether a request of this method may reach an endpoint twice, and the policy has a reason for which it would.
    pub fn repeats(&self, method: &Method) -> bool {
        self.attempts > 1 && self.methods.contains(method)
    }

    /// Why a response with this head is retried, if it is.
    pub fn cause_of(&self, status: StatusCode, headers: &HeaderMap) -> Option<Cause> {
        if self.statuses.contains(status) {
            return Some(Cause::Status);
        }
        let wanted = |code: &u8| headers.get("grpc-status").is_some_and(|value| digits(*code) == value.as_bytes());
        self.grpc.iter().any(wanted).then_some(Cause::GrpcStatus)
    }

    /// What follows this attempt. `left` is the time until the request as a whole is given up. `budget` is called last,
    /// and only for what would be a retry.
    pub fn verdict(
        &self,
        attempt: &Attempt,
        left: Option<Duration>,
        budget: impl FnOnce() -> bool,
        random: u64,
    ) -> Verdict {
        let moves_on = attempt.unsent && attempt.elsewhere;
        let listed = matches!(attempt.cause, Cause::Status | Cause::GrpcStatus) || self.causes.contains(&attempt.cause);
        if !moves_on && !(listed && (attempt.unsent || attempt.repeatable)) {
            return Verdict::Over(End::Final);
        }
        if attempt.number >= self.attempts {
            return Verdict::Over(End::Attempts);
        }
        let wait = if moves_on { Duration::ZERO } else { self.backoff.before(attempt.number, random) };
        if left.is_some_and(|left| wait >= left) {
            return Verdict::Over(End::Time);
        }
        if !moves_on && !budget() {
            return Verdict::Over(End::Budget);
        }
        Verdict::Again(wait)
    }
}

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "up to {} attempts, another endpoint where nothing was sent", self.attempts)?;
        let causes = self.causes.iter().map(|cause| cause.name().to_owned());
        let server_errors = self.statuses.server_errors.then(|| "5xx".to_owned());
        let statuses = self.statuses.listed.iter().map(u16::to_string);
        let grpc = self.grpc.iter().map(|code| format!("grpc-status {code}"));
        let reasons: Vec<String> = causes.chain(server_errors).chain(statuses).chain(grpc).collect();
        if !reasons.is_empty() {
            let methods: Vec<&str> = self.methods.iter().map(Method::as_str).collect();
            write!(f, "; {} again after {}", methods.join(" "), reasons.join(", "))?;
            write!(f, ", with a body of at most {} bytes", self.max_body)?;
        }
        Ok(())
    }
}

impl Statuses {
    pub fn contains(&self, status: StatusCode) -> bool {
        (self.server_errors && status.is_server_error()) || self.listed.contains(&status.as_u16())
    }
}

impl Cause {
    pub const ALL: [Cause; 6] =
        [Cause::Connect, Cause::Reset, Cause::Timeout, Cause::BadResponse, Cause::Status, Cause::GrpcStatus];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Connect => "connect-failure",
            Cause::Reset => "reset",
            Cause::Timeout => "timeout",
            Cause::BadResponse => "bad-response",
            Cause::Status => "status",
            Cause::GrpcStatus => "grpc-status",
        }
    }
}

/// The idempotent methods (RFC 9110, section 9.2.2).
pub fn idempotent() -> Vec<Method> {
    vec![Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE]
}

/// A gRPC status in digits: there are 17 of them.
fn digits(code: u8) -> &'static [u8] {
    const WRITTEN: [&[u8]; 17] =
        [b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9", b"10", b"11", b"12", b"13", b"14", b"15", b"16"];
    WRITTEN.get(usize::from(code)).copied().unwrap_or(b"")
}

/// Endpoints that are tried without configuration. Each may take `connect_timeout` until it counts as dead.
pub const FAILOVER_ATTEMPTS: u32 = 3;

#[cfg(test)]
mod laws;
