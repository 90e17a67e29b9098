//! One composition in progress.

use std::{borrow::Cow, time::Duration};

use gatewright_sdk::{
    Exchange, Response, StatusCode, clock,
    http_client::{self, CallError},
    json::Value,
    log, rules,
    template::{Fault, RequestValues, Root, Text},
};

use crate::{
    Bounds, FAILED,
    config::Read,
    plan::{DEPTH, Plan, Reply, Step},
};

/// The results of the parts, and the rest of the limits.
pub(crate) struct Composition<'a> {
    plan: &'a Plan,
    bounds: &'a Bounds,
    exchange: &'a Exchange,
    /// How deeply its parts are nested.
    depth: u32,
    began: Duration,
    values: RequestValues,
    states: Vec<State>,
    failed: Vec<Value>,
    /// Bytes of all responses.
    size: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    /// With the number of the call.
    Asked(u32),
    Done,
}

/// Why a part has no response, and the status for the client if the part is required.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    /// The metric's label.
    reason: &'static str,
    status: StatusCode,
    /// A sentence for the client, about the part or the request.
    detail: String,
    /// For the operator's log.
    why: String,
}

impl<'a> Composition<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        bounds: &'a Bounds,
        exchange: &'a Exchange,
        depth: u32,
        values: RequestValues,
    ) -> Self {
        let states = vec![State::Waiting; plan.steps.len()];
        let began = clock::monotonic();
        Self { plan, bounds, exchange, depth, began, values, states, failed: Vec::new(), size: 0 }
    }

    /// Requests each part as soon as its dependencies are there, until all are done or a required one has failed. Calls
    /// still in progress end with the hook.
    pub(crate) fn run(mut self) -> Response {
        loop {
            match self.ask_what_is_due() {
                Ok(()) => {}
                Err(refusal) => return refusal,
            }
            let Some((number, answer)) = http_client::next() else { break };
            let Some(at) = self.states.iter().position(|state| *state == State::Asked(number)) else { continue };
            let Some(step) = self.plan.steps.get(at) else { continue };
            let outcome = self.read(step, answer);
            if let Err(refusal) = self.settle(at, step, outcome) {
                return refusal;
            }
        }
        self.values.set(Root::Failed, Value::Array(std::mem::take(&mut self.failed)));
        self.reply(&self.plan.answer)
    }

    /// A part that cannot be requested is done at once, which may make other parts due.
    fn ask_what_is_due(&mut self) -> Result<(), Response> {
        let is_done = |states: &[State], at: &usize| states.get(*at) == Some(&State::Done);
        loop {
            let due = self.plan.steps.iter().zip(&self.states).position(|(step, state)| {
                *state == State::Waiting && step.needs.iter().all(|need| is_done(&self.states, need))
            });
            let Some((at, step)) = due.and_then(|at| Some((at, self.plan.steps.get(at)?))) else { return Ok(()) };
            let asked =
                self.question(step).and_then(|question| question.start().map_err(|error| unanswered(step, &error)));
            match asked {
                Ok(number) => self.mark(at, State::Asked(number)),
                Err(failure) => self.settle(at, step, Err(failure))?,
            }
        }
    }

    fn question(&self, step: &Step) -> Result<http_client::Request, Failure> {
        let elapsed = clock::monotonic().saturating_sub(self.began);
        let left = self.bounds.deadline.saturating_sub(elapsed);
        if left < Duration::from_millis(1) {
            return Err(unanswered(step, &CallError::TimedOut));
        }
        let unfit = |fault: Fault<'_>| cannot_be_asked(step, &fault);
        let mut question = step.question.clone();
        question.timeout = question.timeout.min(left);
        question.path = step.target.render(&self.values).map_err(unfit)?;
        for name in &step.forward {
            for value in self.exchange.request_headers().values(name) {
                let value = String::from_utf8(value).map_err(|_| not_text(name))?;
                question.headers.push((name.clone(), value));
            }
        }
        for (name, text) in &step.headers {
            if let Some(value) = header(text, &self.values).map_err(unfit)? {
                question.headers.retain(|(have, _)| have != name);
                question.headers.push((name.clone(), value));
            }
        }
        let mut add = |name: &str, value: &str| {
            if !question.headers.iter().any(|(have, _)| have == name) {
                question.headers.push((name.to_owned(), value.to_owned()));
            }
        };
        add(DEPTH, &self.depth.to_string());
        if step.read == Read::Json {
            add("accept", "application/json");
        }
        if let Some(body) = &step.body {
            add("content-type", "application/json");
            let written = body.write(&self.values, self.bounds.size, &mut question.body);
            written.map_err(|_| too_large(step, "its body would be over max_size"))?;
        }
        Ok(question)
    }

    fn read(&mut self, step: &Step, answer: Result<http_client::Response, CallError>) -> Result<Value, Failure> {
        let answer = answer.map_err(|error| unanswered(step, &error))?;
        if !answer.status.is_success() {
            return Err(refused(step, answer.status));
        }
        if answer.body.len() > self.bounds.part_size {
            return Err(too_large(step, "its answer is over max_part_size"));
        }
        self.size = self.size.saturating_add(answer.body.len());
        if self.size > self.bounds.size {
            return Err(too_large(step, "all answers together are over max_size"));
        }
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        match step.read {
            Read::Json => Value::parse(&answer.body).map_err(|error| unreadable(step, &error.to_string())),
            Read::Text => {
                String::from_utf8(answer.body).map(Value::String).map_err(|_| unreadable(step, "it is not UTF-8"))
            }
        }
    }

    /// Records that the part is done, successfully or not.
    fn settle(&mut self, at: usize, step: &Step, outcome: Result<Value, Failure>) -> Result<(), Response> {
        self.mark(at, State::Done);
        let value = match outcome {
            Ok(value) => value,
            Err(failure) => {
                FAILED.add(1, &[&step.name, failure.reason]);
                log::warn("a part has no answer", &[("part", &step.name), ("why", &failure.why)]);
                if !step.optional {
                    return Err(failure.into_response());
                }
                self.failed.push(Value::String(step.name.clone()));
                step.default.clone()
            }
        };
        self.values.set(Root::Part(step.name.clone()), value);
        Ok(())
    }

    fn mark(&mut self, at: usize, state: State) {
        if let Some(place) = self.states.get_mut(at) {
            *place = state;
        }
    }

    fn reply(&self, reply: &Reply) -> Response {
        let mut body = Vec::new();
        if reply.body.write(&self.values, self.bounds.size, &mut body).is_err() {
            log::warn("the answer would be over max_size", &[]);
            return problem(StatusCode::BAD_GATEWAY, "The answer would be too long.");
        }
        let mut response = Response { status: reply.status, headers: Vec::new(), body };
        for (name, text) in &reply.headers {
            match header(text, &self.values) {
                Ok(Some(value)) => response = response.with_header(name.as_str(), value),
                Ok(None) => {}
                Err(_) => return problem(StatusCode::BAD_GATEWAY, "A header of the answer could not be written."),
            }
        }
        match response.header("content-type") {
            Some(_) => response,
            None => response.with_header("content-type", "application/json"),
        }
    }
}

/// A header's value; `None` if one of its placeholders has no value.
fn header<'t>(text: &'t Text, values: &RequestValues) -> Result<Option<String>, Fault<'t>> {
    match text.render(values, |value| rules::check_value(value).is_ok().then_some(Cow::Borrowed(value))) {
        Ok(value) => Ok(Some(value)),
        Err(Fault::Missing(_)) => Ok(None),
        Err(fault @ Fault::Unfit(_)) => Err(fault),
    }
}

impl Failure {
    fn into_response(self) -> Response {
        problem(self.status, &self.detail)
    }
}

pub(crate) fn problem(status: StatusCode, detail: &str) -> Response {
    Response::problem(status, status.canonical_reason().unwrap_or("Refused"), detail)
}

fn unanswered(step: &Step, error: &CallError) -> Failure {
    let name = &step.name;
    let (reason, status, detail) = match error {
        CallError::TimedOut => ("timeout", StatusCode::GATEWAY_TIMEOUT, format!("The part {name:?} took too long.")),
        CallError::ResponseTooLarge => return too_large(step, "its answer is over limits.body"),
        CallError::ConnectionFailed(_)
        | CallError::UnknownUpstream
        | CallError::LimitExceeded
        | CallError::Other(_) => {
            ("unreachable", StatusCode::BAD_GATEWAY, format!("The part {name:?} could not be asked."))
        }
    };
    let why = match error {
        CallError::UnknownUpstream => format!("the upstream {:?} is not granted", step.question.upstream),
        CallError::LimitExceeded => "it is one more than limits.callouts".to_owned(),
        error => error.to_string(),
    };
    Failure { reason, status, detail, why }
}

fn refused(step: &Step, status: StatusCode) -> Failure {
    let why = format!("its status is {status}");
    let (reason, status) = match status {
        StatusCode::LOOP_DETECTED => ("loop", status),
        status if step.pass.contains(&status) => ("status", status),
        _ => ("status", StatusCode::BAD_GATEWAY),
    };
    let detail = match reason {
        "loop" => format!("The part {:?} leads back here.", step.name),
        _ => format!("The part {:?} was refused.", step.name),
    };
    Failure { reason, status, detail, why }
}

fn too_large(step: &Step, why: &str) -> Failure {
    let detail = format!("The part {:?} is too large.", step.name);
    Failure { reason: "too-large", status: StatusCode::BAD_GATEWAY, detail, why: why.to_owned() }
}

fn unreadable(step: &Step, why: &str) -> Failure {
    let detail = format!("The part {:?} could not be read.", step.name);
    Failure { reason: "unreadable", status: StatusCode::BAD_GATEWAY, detail, why: why.to_owned() }
}

/// A value is missing or not allowed in its place. The client is at fault if the value comes from the client.
fn cannot_be_asked(step: &Step, fault: &Fault<'_>) -> Failure {
    let (place, name) = (fault.place(), &step.name);
    let what = match fault {
        Fault::Missing(_) => "is missing",
        Fault::Unfit(_) => "is no value that can be sent",
    };
    let (status, detail) = match place.root() {
        Root::Part(other) => {
            let detail = format!("The part {name:?} could not be asked: {other:?} lacks what it needs.");
            (StatusCode::BAD_GATEWAY, detail)
        }
        _ => (StatusCode::BAD_REQUEST, format!("In the request {place} {what}.")),
    };
    Failure { reason: "value", status, detail, why: format!("$({place}) {what}") }
}

fn not_text(name: &str) -> Failure {
    let detail = format!("The header {name:?} is not text.");
    Failure { reason: "value", status: StatusCode::BAD_REQUEST, why: detail.clone(), detail }
}
