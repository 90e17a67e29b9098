//! `plugin bench`: what the header hooks cost.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cases::{Case, Cases};
use super::stage::Stage;
use super::{Error, walk};
use crate::config;
use crate::exchange::ResponseHead;
use crate::plugin::{Chain, Isolation};

/// What the hooks cost with the exchange of one case; without those of an empty chain.
pub struct Cost {
    pub name: String,
    /// With a warm instance.
    pub request: Duration,
    /// None where the plugin has no response hook.
    pub response: Option<Duration>,
    /// With a fresh instance, which is configured first (`isolation: request`): all hooks together.
    pub fresh: Duration,
}

/// Measures the first exchange of every case, `time` for each figure. Cases whose configuration is refused are left out.
///
/// # Errors
/// A hook fails, or a case cannot be run at all.
pub fn run(stage: &Stage, cases: &Cases, filter: &str, time: Duration) -> Result<Vec<Cost>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::told(format!("no runtime: {error}")))?;
    let cases_of = cases.file.cases.iter().enumerate();
    let chosen = cases_of.filter(|(_, case)| case.refused.is_none() && case.name.contains(filter));
    chosen.map(|(index, case)| runtime.block_on(measure(stage, cases, index, case, time))).collect()
}

async fn measure(stage: &Stage, cases: &Cases, index: usize, case: &Case, time: Duration) -> Result<Cost, Error> {
    let empty = Arc::new(Chain::default());
    let nothing = rounds(&empty, cases, case, time / 4).await?;
    let shared = rounds(&chain(stage, cases, index, case, Isolation::Shared)?, cases, case, time).await?;
    let fresh = rounds(&chain(stage, cases, index, case, Isolation::Request)?, cases, case, time).await?;
    let has_response = stage.artifact().exports().on_response.is_some();
    let response = shared.response.saturating_sub(nothing.response);
    Ok(Cost {
        name: case.name.clone(),
        request: shared.request.saturating_sub(nothing.request),
        response: has_response.then_some(response),
        fresh: (fresh.request + fresh.response).saturating_sub(nothing.request + nothing.response),
    })
}

fn chain(stage: &Stage, cases: &Cases, index: usize, case: &Case, isolation: Isolation) -> Result<Arc<Chain>, Error> {
    let config = case.config.as_ref().unwrap_or(&cases.file.config);
    let own = config::child(&config::child("/cases", index), "config");
    let at = if case.config.is_some() { own.as_str() } else { "/config" };
    let cast = stage.cast(cases, config, (&cases.document, at), isolation);
    let cast = cast.map_err(|refused| Error::told(format!("{}: {refused}", case.name)))?;
    Ok(Arc::new(Chain::new(vec![cast.plugin])))
}

/// The medians of both hooks.
struct Round {
    request: Duration,
    response: Duration,
}

async fn rounds(chain: &Arc<Chain>, cases: &Cases, case: &Case, time: Duration) -> Result<Round, Error> {
    let steps = case.steps();
    let step = steps.first().cloned().unwrap_or_default();
    let until = Instant::now() + time;
    let (mut requests, mut responses) = (Vec::new(), Vec::new());
    let upstream = ResponseHead { status: Some(http::StatusCode::OK), headers: walk::headers(&step.response.headers)? };
    while requests.len() < FEWEST || (Instant::now() < until && requests.len() < MOST) {
        let mut exchange = walk::start(&step, &cases.file.route)?;
        let began = Instant::now();
        let stop = chain.on_request(&mut exchange, true).await;
        requests.push(began.elapsed());
        match stop {
            ControlFlow::Continue(()) => exchange.response = upstream.clone(),
            ControlFlow::Break(crate::plugin::Stop::Failed(failure)) => return Err(Error::told(failure.to_string())),
            ControlFlow::Break(_) => {}
        }
        let began = Instant::now();
        let stop = chain.on_response(&mut exchange, true).await;
        responses.push(began.elapsed());
        if let ControlFlow::Break(crate::plugin::Stop::Failed(failure)) = stop {
            return Err(Error::told(failure.to_string()));
        }
    }
    Ok(Round { request: median(requests), response: median(responses) })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// However slow a hook is.
const FEWEST: usize = 100;
/// However fast: what a measurement may keep in memory.
const MOST: usize = 2_000_000;
