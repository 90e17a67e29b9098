//! A route's plugins in order, and the path of an exchange through them.
//!
//! Request hooks run first to last until one answers. Response hooks run last to first, for exactly the plugins whose
//! request hook ran, whoever made the response: the upstream, a plugin, or the gateway's own error.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use super::bindings::{Decision, LocalResponse};
use super::failure::{Failure, FailureKind};
use super::state::Call;
use super::{OnError, Plugin, guard};
use crate::exchange::{Exchange, Fault, Phase, ResponseHead};
use crate::telemetry::metrics;

/// The plugins of a route.
#[derive(Debug, Default)]
pub struct Chain {
    plugins: Box<[Arc<Plugin>]>,
    /// Some plugin has a hook that runs after the request was sent on and may read its headers.
    looks_back: bool,
}

/// Why the chain stopped.
#[derive(Debug)]
pub enum Stop {
    /// A plugin answered: the head is in the exchange, this is the body.
    Answer(Bytes),
    /// A plugin wants the client's stream reset.
    Abort,
    /// A plugin failed and may not be skipped.
    Failed(Failure),
}

impl Chain {
    pub fn new(plugins: Vec<Arc<Plugin>>) -> Chain {
        let looks_back = plugins.iter().any(|plugin| plugin.hooks().after_request());
        Chain { plugins: plugins.into(), looks_back }
    }

    pub fn plugins(&self) -> &[Arc<Plugin>] {
        &self.plugins
    }

    /// Whether a later hook may read the request's headers, so that they are kept when the request is sent on.
    pub fn looks_back(&self) -> bool {
        self.looks_back
    }

    /// Runs the request hooks.
    pub async fn on_request(&self, exchange: &mut Exchange, end_of_stream: bool) -> ControlFlow<Stop> {
        exchange.run.begin(self.plugins.len());
        for (position, plugin) in self.plugins.iter().enumerate() {
            let decision = if plugin.hooks().request {
                let hook = plugin.hook(
                    exchange,
                    position,
                    Call::Request,
                    |hooks| hooks.on_request.as_ref(),
                    (end_of_stream,),
                    |(decision,)| Verdict::read(decision),
                );
                settle(plugin, hook.await)?
            } else {
                Some(Verdict::Proceed)
            };
            let Some(verdict) = decision else { continue };
            if let Some(slot) = exchange.run.slot(position) {
                slot.ran = true;
            }
            if matches!(verdict, Verdict::Proceed) {
                plugin.change_request(exchange);
            }
            verdict.apply(plugin, exchange)?;
        }
        ControlFlow::Continue(())
    }

    /// Runs the response hooks of the plugins that ran, last to first. A returned body means that a plugin replaced the
    /// response that it was shown; the plugins before it see the replacement.
    pub async fn on_response(&self, exchange: &mut Exchange, end_of_stream: bool) -> ControlFlow<Stop, Option<Bytes>> {
        exchange.phase = Phase::Response;
        let mut replaced = None;
        for (position, plugin) in self.plugins.iter().enumerate().rev() {
            if !exchange.run.ran(position) {
                continue;
            }
            plugin.change_response(exchange);
            for edit in exchange.run.take_later(position) {
                edit.apply(&mut exchange.response.headers);
            }
            if !plugin.hooks().response {
                continue;
            }
            let end = replaced.as_ref().map_or(end_of_stream, Bytes::is_empty);
            let hook = plugin.hook(
                exchange,
                position,
                Call::Response,
                |hooks| hooks.on_response.as_ref(),
                (end,),
                |(decision,)| Verdict::read(decision),
            );
            let step = match settle(plugin, hook.await) {
                ControlFlow::Continue(verdict) => verdict.unwrap_or(Verdict::Proceed).apply(plugin, exchange),
                ControlFlow::Break(stop) => ControlFlow::Break(stop),
            };
            match step {
                ControlFlow::Continue(()) => {}
                ControlFlow::Break(Stop::Answer(body)) => {
                    exchange.run.forget_response_codecs();
                    replaced = Some(body);
                }
                ControlFlow::Break(Stop::Failed(failure)) => {
                    exchange.run.forget_response_codecs();
                    exchange.trailers.response = None;
                    replaced = Some(failure.answer(exchange));
                }
                ControlFlow::Break(Stop::Abort) => return ControlFlow::Break(Stop::Abort),
            }
        }
        ControlFlow::Continue(replaced)
    }

    /// Tells the plugins that ran and have a completion hook that the exchange is over, last to first.
    pub async fn on_complete(&self, exchange: &mut Exchange) {
        exchange.phase = Phase::Sent;
        for (position, plugin) in self.plugins.iter().enumerate().rev() {
            if plugin.hooks().complete && exchange.run.ran(position) {
                let hook = plugin.hook(
                    exchange,
                    position,
                    Call::Complete,
                    |hooks| hooks.on_complete.as_ref(),
                    (),
                    |()| Ok(()),
                );
                if let Err(failure) = hook.await {
                    plugin.lent().note(&failure.to_string());
                }
            }
        }
        exchange.run.release();
    }

    /// Whether any plugin has a completion hook.
    pub fn has_completion(&self) -> bool {
        self.plugins.iter().any(|plugin| plugin.hooks().complete)
    }
}

impl Failure {
    /// Puts the error response for a failed policy into the exchange and returns its body.
    pub fn answer(&self, exchange: &mut Exchange) -> Bytes {
        exchange.outcome.answered_by = Some(self.plugin.clone());
        exchange.outcome.fault = Some(Fault::Plugin);
        exchange.outcome.error = Some(self.to_string().into());
        let (head, body) = crate::problem::answer(self.status(), self.for_client(), exchange);
        exchange.response = head;
        body
    }
}

/// A decision, after validation.
pub(super) enum Verdict {
    Proceed,
    Respond(ResponseHead, Bytes),
    Abort,
}

impl Verdict {
    pub fn read(decision: Decision) -> Result<Verdict, (FailureKind, &'static str)> {
        match decision {
            Decision::Proceed => Ok(Verdict::Proceed),
            Decision::Abort => Ok(Verdict::Abort),
            Decision::Respond(response) => Verdict::respond(response),
        }
    }

    pub fn respond(response: LocalResponse) -> Result<Verdict, (FailureKind, &'static str)> {
        let bad = |what| move |_| (FailureKind::Answer, what);
        let status = guard::status(response.status).map_err(bad("the status is not one of 200 to 599"))?;
        if response.headers.len() > ANSWER_HEADERS {
            return Err((FailureKind::Answer, "the answer has more than 100 headers"));
        }
        let mut headers = HeaderMap::with_capacity(response.headers.len() + 2);
        for (name, value) in response.headers {
            let field = guard::field(name.as_bytes(), value.as_bytes());
            let (name, value) = field.map_err(bad("a header is not valid or is the gateway's own"))?;
            headers.append(name, value);
        }
        Ok(Verdict::Respond(ResponseHead { status: Some(status), headers }, response.body.into()))
    }

    /// Carries out the decision.
    pub fn apply(self, plugin: &Plugin, exchange: &mut Exchange) -> ControlFlow<Stop> {
        match self {
            Verdict::Proceed => ControlFlow::Continue(()),
            Verdict::Abort => {
                plugin.metrics().aborted();
                exchange.outcome.answered_by = Some(plugin.name().clone());
                ControlFlow::Break(Stop::Abort)
            }
            Verdict::Respond(head, body) => {
                plugin.metrics().answered();
                exchange.outcome.answered_by = Some(plugin.name().clone());
                exchange.response = head;
                ControlFlow::Break(Stop::Answer(body))
            }
        }
    }
}

/// Applies `on_error`: the answer that the chain continues with, `None` if the plugin is skipped.
pub(super) fn settle<T>(plugin: &Plugin, answer: Result<Option<T>, Failure>) -> ControlFlow<Stop, Option<T>> {
    match answer {
        Ok(answer) => ControlFlow::Continue(answer),
        Err(failure) => match plugin.settings().on_error {
            OnError::Skip => {
                plugin.metrics().failed(metrics::OnError::Skip);
                plugin.lent().note(&format!("skipped: {failure}"));
                ControlFlow::Continue(None)
            }
            OnError::Deny => {
                plugin.metrics().failed(metrics::OnError::Deny);
                plugin.lent().note(&failure.to_string());
                ControlFlow::Break(Stop::Failed(failure))
            }
        },
    }
}

const ANSWER_HEADERS: usize = 100;
