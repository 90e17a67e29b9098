//! Why a hook did not do its work.

use std::fmt;
use std::sync::Arc;

use http::StatusCode;

use super::state::{Call, Limit, State};
use crate::telemetry::metrics::Hook;

/// A hook that failed. The client learns only a status, the operator everything.
#[derive(Debug)]
pub struct Failure {
    pub plugin: Arc<str>,
    pub hook: &'static str,
    pub kind: FailureKind,
    /// The guest's stack, or what was wrong with its answer.
    pub detail: String,
}

/// The kinds of failure that are counted separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The guest trapped: a panic, an invalid memory access, unreachable code, a stack overflow.
    Trap,
    /// It exceeded its time limit.
    Time,
    /// It exceeded its memory limit and trapped.
    Memory,
    /// It called too many host functions.
    HostCalls,
    /// Its answer is invalid: a status that does not exist, a header that is not allowed.
    Answer,
    /// A body is longer than the plugin may hold, or than it may become.
    Body,
    /// A body to be decompressed is not valid in its coding.
    Coding,
    /// No instance could be created: the pool is full, or `configure` failed.
    Instance,
    /// The breaker is open after too many failures in a row.
    Open,
}

impl FailureKind {
    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            FailureKind::Trap => "trap",
            FailureKind::Time => "time",
            FailureKind::Memory => "memory",
            FailureKind::HostCalls => "host-calls",
            FailureKind::Answer => "answer",
            FailureKind::Body => "body",
            FailureKind::Coding => "coding",
            FailureKind::Instance => "instance",
            FailureKind::Open => "open",
        }
    }

    /// Distinguishes a limit that was hit from a plain trap.
    pub(super) fn of_trap(state: &State) -> FailureKind {
        match state.hit {
            Some(Limit::Time) => FailureKind::Time,
            Some(Limit::Memory) => FailureKind::Memory,
            Some(Limit::HostCalls) => FailureKind::HostCalls,
            None => FailureKind::Trap,
        }
    }
}

impl Failure {
    /// The status of the error response. An open breaker and a missing instance are temporary; an invalid body is its
    /// sender's fault; everything else is the plugin's.
    pub fn status(&self) -> StatusCode {
        match self.kind {
            FailureKind::Open | FailureKind::Instance => StatusCode::SERVICE_UNAVAILABLE,
            FailureKind::Body if self.is_about_request() => StatusCode::PAYLOAD_TOO_LARGE,
            FailureKind::Coding if self.is_about_request() => StatusCode::BAD_REQUEST,
            FailureKind::Body | FailureKind::Coding => StatusCode::BAD_GATEWAY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// One sentence without internal details.
    pub(super) fn for_client(&self) -> &'static str {
        match self.kind {
            FailureKind::Body if self.is_about_request() => "The request body is too large.",
            FailureKind::Coding if self.is_about_request() => "The request body is not what its Content-Encoding says.",
            _ => "A policy of this route failed.",
        }
    }

    fn is_about_request(&self) -> bool {
        self.hook == Call::RequestBody.name()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { plugin, hook, kind, detail } = self;
        match kind {
            FailureKind::Trap => write!(f, "plugin {plugin:?} trapped in {hook}: {detail}"),
            FailureKind::Time => write!(f, "plugin {plugin:?} ran longer in {hook} than limits.time allows: {detail}"),
            FailureKind::Memory => write!(f, "plugin {plugin:?} is over limits.memory in {hook}: {detail}"),
            FailureKind::HostCalls => write!(f, "plugin {plugin:?} is over limits.host_calls in {hook}: {detail}"),
            FailureKind::Answer => write!(f, "plugin {plugin:?} gave no valid answer in {hook}: {detail}"),
            FailureKind::Body => write!(f, "plugin {plugin:?}: a body is too long in {hook}: {detail}"),
            FailureKind::Coding => write!(f, "plugin {plugin:?}: a body cannot be decompressed in {hook}: {detail}"),
            FailureKind::Instance => write!(f, "plugin {plugin:?} has no instance for {hook}: {detail}"),
            FailureKind::Open => write!(f, "plugin {plugin:?} failed again and again, and its breaker is open"),
        }
    }
}

impl std::error::Error for Failure {}

impl Call {
    /// The name of the hook in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Call::Idle => "no hook",
            Call::Describe => "describe",
            Call::Configure => "configure",
            Call::Request => "on-request",
            Call::RequestBody => "on-request-body",
            Call::Response => "on-response",
            Call::ResponseBody => "on-response-body",
            Call::Complete => "on-complete",
            Call::Tick => "on-tick",
        }
    }

    /// The same for the metrics.
    pub(super) fn hook(self) -> Hook {
        match self {
            Call::Idle | Call::Describe | Call::Configure => Hook::Configure,
            Call::Request => Hook::Request,
            Call::RequestBody => Hook::RequestBody,
            Call::Response => Hook::Response,
            Call::ResponseBody => Hook::ResponseBody,
            Call::Complete => Hook::Completion,
            Call::Tick => Hook::Tick,
        }
    }
}
