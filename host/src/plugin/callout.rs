//! `http-client`: requests of a plugin to the upstreams it was granted, through their own pools.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::task::JoinSet;
use wasmtime::Result;

use super::bindings::http_client::{self, CallError};
use super::guard;
use super::header_names::HeaderNames;
use super::state::{Call, State};
use crate::upstream::{CallError as Failure, Upstream};

pub(super) type Answer = std::result::Result<http_client::Response, CallError>;

impl http_client::Host for State {
    async fn send(&mut self, request: http_client::Request) -> Result<Answer> {
        self.charge()?;
        let callout = match self.prepare(request) {
            Ok(callout) => callout,
            Err(error) => return Ok(Err(error)),
        };
        let answer = callout.run().await;
        // Only here: a call that was refused did not wait, and must not give the hook more time.
        self.has_waited();
        Ok(answer)
    }

    async fn send_all(&mut self, requests: Vec<http_client::Request>) -> Result<Vec<Answer>> {
        self.charge()?;
        let mut answers = Vec::with_capacity(requests.len());
        let mut running = JoinSet::new();
        for (index, request) in requests.into_iter().enumerate() {
            match self.prepare(request) {
                Ok(callout) => {
                    // Overwritten when the callout reports back; remains if its task dies.
                    answers.push(Err(CallError::Other("the callout was lost".into())));
                    running.spawn(async move { (index, callout.run().await) });
                }
                Err(error) => answers.push(Err(error)),
            }
        }
        let waits = !running.is_empty();
        while let Some(finished) = running.join_next().await {
            if let Ok((index, answer)) = finished
                && let Some(place) = answers.get_mut(index)
            {
                *place = answer;
            }
        }
        if waits {
            self.has_waited();
        }
        Ok(answers)
    }

    async fn start(&mut self, request: http_client::Request) -> Result<std::result::Result<u32, CallError>> {
        self.charge()?;
        let callout = match self.prepare(request) {
            Ok(callout) => callout,
            Err(error) => return Ok(Err(error)),
        };
        // A number is used only once in a hook: each call takes one from a budget that is never refilled.
        let number = self.lent.limits.callouts - self.callouts;
        self.running.spawn(async move { (number, callout.run().await) });
        Ok(Ok(number))
    }

    async fn next(&mut self) -> Result<Option<(u32, Answer)>> {
        self.charge()?;
        let Some(finished) = self.running.join_next().await else { return Ok(None) };
        self.has_waited();
        // Nothing in a callout panics. Should one do so, its silence must not be mistaken for an answer.
        finished.map(Some).map_err(|_| wasmtime::Error::msg("a callout was lost"))
    }

    async fn dispatch(&mut self, request: http_client::Request) -> Result<std::result::Result<(), CallError>> {
        self.charge()?;
        Ok(self.prepare(request).map(|callout| drop(tokio::spawn(callout.run()))))
    }
}

/// The destination of a plugin's callouts.
#[derive(Clone)]
pub enum Callee {
    /// Servers, through their own connection pools.
    Upstream(Arc<Upstream>),
    /// A script in place of servers, for the tests of plugin authors.
    Script(Arc<dyn Script>),
}

/// Answers in place of an upstream.
pub trait Script: Send + Sync {
    /// The answer to one call; `None` for a failed connection.
    fn answer(&self, request: &Request<Bytes>) -> Option<Response<Bytes>>;
}

/// A callout that is well formed and allowed.
struct Callout {
    callee: Callee,
    request: Request<Bytes>,
    timeout: Duration,
    limit: usize,
}

impl State {
    fn prepare(&mut self, request: http_client::Request) -> std::result::Result<Callout, CallError> {
        if matches!(self.call, Call::Describe | Call::Configure) {
            return Err(CallError::Other("callouts are for hooks, not for configure".into()));
        }
        self.callouts = self.callouts.checked_sub(1).ok_or(CallError::LimitExceeded)?;
        let abilities = &self.lent.abilities;
        let callee = abilities.upstreams.get(request.upstream.as_str()).ok_or(CallError::UnknownUpstream)?.clone();
        let limits = &self.lent.limits;
        let timeout = limits.wait(request.timeout_ms);
        let request =
            parse(request, &mut self.names).map_err(|_| CallError::Other("the request is not valid HTTP".into()))?;
        Ok(Callout { callee, request, timeout, limit: limits.body_bytes })
    }
}

impl Callout {
    async fn run(self) -> Answer {
        let response = match &self.callee {
            Callee::Upstream(upstream) => {
                upstream.call(self.request, self.timeout, self.limit).await.map_err(refusal)?
            }
            Callee::Script(script) => script.answer(&self.request).ok_or_else(no_answer)?,
        };
        let (head, body) = response.into_parts();
        let headers =
            head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
        Ok(http_client::Response { status: head.status.as_u16(), headers, body: body.into() })
    }
}

fn refusal(failure: Failure) -> CallError {
    match failure {
        Failure::TimedOut(_) => CallError::TimedOut,
        Failure::TooLarge(_) => CallError::ResponseTooLarge,
        Failure::Send(_) | Failure::Body(_) => no_answer(),
    }
}

/// The reason contains addresses, which the plugin does not need to know.
fn no_answer() -> CallError {
    CallError::ConnectionFailed("the upstream gave no answer".into())
}

fn parse(
    request: http_client::Request,
    names: &mut HeaderNames,
) -> std::result::Result<Request<Bytes>, super::bindings::MutateError> {
    let mut parsed = Request::new(Bytes::from(request.body));
    *parsed.method_mut() = guard::method(&request.method)?;
    *parsed.uri_mut() = guard::target(&request.path)?.into();
    for (name, value) in &request.headers {
        // Host is the one field that a callout may set and a change to an exchange may not.
        if name.eq_ignore_ascii_case("host") {
            parsed.headers_mut().insert(http::header::HOST, guard::authority(value)?);
        } else {
            let (name, value) = names.field(name.as_bytes(), value.as_bytes())?;
            parsed.headers_mut().append(name, value);
        }
    }
    Ok(parsed)
}
