//! `plugin bench`: what a component needs to start, and what its hooks cost.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cases::{Case, Cases};
use super::scratch::Scratch;
use super::stage::{Cast, Stage};
use super::toolchain::unusable;
use super::{Error, walk};
use crate::config;
use crate::exchange::Phase;
use crate::plugin::{Chain, Direction, Isolation, Stop};

/// What a component needs before a hook runs.
pub struct Start {
    /// Size of the component in bytes.
    pub size: usize,
    /// From bytes to a compiled component whose manifest was read.
    pub compiled: Duration,
    /// The same with the compiled code from the cache on disk.
    pub cached: Duration,
}

/// The cost of the hooks with the exchange of one case, without the cost of an empty chain.
pub struct Cost {
    pub name: String,
    /// With a warm instance.
    pub request: Duration,
    /// `None` if the plugin has no response hook.
    pub response: Option<Duration>,
    /// Both bodies of the case, in all their calls; `None` if the plugin has no body hook.
    pub bodies: Option<Duration>,
    /// All hooks together with a fresh instance, which is configured first (`isolation: request`).
    pub fresh: Duration,
    /// The share of the exchanges that the plugin answered itself, 0 to 1. In between, the figures are means of two
    /// different things.
    pub answered: f64,
}

/// Measures how a component starts, with a compile cache of its own, and returns it on stage.
///
/// # Errors
/// It is not a plugin, or the folder for temporary files cannot be written to.
pub fn start(component: &Path) -> Result<(Start, Stage), Error> {
    let cache = Scratch::new("bench")?;
    let compiled = Stage::load_with(component, Some(&cache.path))?;
    let (size, time) = (compiled.size(), compiled.compile_time());
    drop(compiled);
    let cached = Stage::load_with(component, Some(&cache.path))?;
    Ok((Start { size, compiled: time, cached: cached.compile_time() }, cached))
}

/// Measures the first exchange of every case, `time` for each figure. The host's counts and stores for the plugin are
/// cleared after each exchange, so that the next one is the first again. Cases whose configuration is refused are left
/// out.
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

/// Bytes of memory that each additional configured instance adds to this process. Call it before the stage has had
/// instances, because their memory stays with the pool.
///
/// # Errors
/// The configuration of the first case is refused, or there is none.
pub fn memory(stage: &Stage, cases: &Cases) -> Result<u64, Error> {
    let first = cases.file.cases.iter().enumerate().find(|(_, case)| case.refused.is_none());
    let (index, case) = first.ok_or_else(|| Error::told("every case is refused, so nothing can be measured"))?;
    let cast = cast(stage, cases, index, case, Isolation::Shared)?;
    let with = |count: usize| cast.plugin.beside(count, resident).map_err(Error::Told)?;
    // The first few already include what all instances share.
    let (few, many) = (with(FEW)?, with(FEW + COUNTED)?);
    Ok(many.saturating_sub(few) / COUNTED as u64)
}

/// The figures for machines.
pub fn value(start: &Start, memory: u64, costs: &[Cost]) -> Value {
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let cases = costs.iter().map(|cost| {
        json!({
            "name": cost.name,
            "request_ns": nanoseconds(cost.request),
            "response_ns": cost.response.map(nanoseconds),
            "bodies_ns": cost.bodies.map(nanoseconds),
            "fresh_ns": nanoseconds(cost.fresh),
            "answered": cost.answered,
        })
    });
    json!({
        "size_bytes": start.size,
        "compiled_ns": nanoseconds(start.compiled),
        "cached_ns": nanoseconds(start.cached),
        "memory_bytes": memory,
        "cases": cases.collect::<Vec<_>>(),
    })
}

async fn measure(stage: &Stage, cases: &Cases, index: usize, case: &Case, time: Duration) -> Result<Cost, Error> {
    let nothing = rounds(None, cases, case, time / 4).await?;
    let shared = rounds(Some(cast(stage, cases, index, case, Isolation::Shared)?), cases, case, time).await?;
    let fresh = rounds(Some(cast(stage, cases, index, case, Isolation::Request)?), cases, case, time).await?;
    let exports = stage.artifact().exports();
    let has_bodies = exports.on_request_body.is_some() || exports.on_response_body.is_some();
    let bodies = shared.bodies.saturating_sub(nothing.bodies);
    let response = shared.response.saturating_sub(nothing.response);
    Ok(Cost {
        name: case.name.clone(),
        request: shared.request.saturating_sub(nothing.request),
        response: exports.on_response.is_some().then_some(response),
        bodies: has_bodies.then_some(bodies),
        fresh: fresh.sum().saturating_sub(nothing.sum()),
        answered: shared.answered,
    })
}

fn cast(stage: &Stage, cases: &Cases, index: usize, case: &Case, isolation: Isolation) -> Result<Cast, Error> {
    let config = case.config.as_ref().unwrap_or(&cases.file.config);
    let own = config::child(&config::child("/cases", index), "config");
    let at = if case.config.is_some() { own.as_str() } else { "/config" };
    let cast = stage.cast(cases, config, (&cases.document, at), isolation);
    cast.map_err(|refused| Error::told(format!("{}: {refused}", case.name)))
}

/// Bytes of this process that are resident in memory.
fn resident() -> Result<u64, Error> {
    let path = Path::new("/proc/self/smaps_rollup");
    let text = std::fs::read_to_string(path).map_err(|error| unusable(path, &error))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    Ok(kilobytes.unwrap_or_default() << 10)
}

/// The medians of the hooks, and the share of exchanges that they answered.
struct Round {
    request: Duration,
    response: Duration,
    bodies: Duration,
    answered: f64,
}

impl Round {
    fn sum(&self) -> Duration {
        self.request + self.response + self.bodies
    }
}

async fn rounds(cast: Option<Cast>, cases: &Cases, case: &Case, time: Duration) -> Result<Round, Error> {
    let chain = &Arc::new(Chain::new(cast.iter().map(|cast| cast.plugin.clone()).collect()));
    let step = case.steps().first().cloned().unwrap_or_default();
    let until = Instant::now() + time;
    let (mut requests, mut responses, mut bodies, mut answered) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let upstream = walk::response_head(&step.response)?;
    while requests.len() < FEWEST || (Instant::now() < until && requests.len() < MOST) {
        let mut exchange = walk::start(&step, &cases.file.route)?;
        let (request_body, response_body) = (walk::request_body(&step), walk::response_body(&step));
        let began = Instant::now();
        let mut stop = chain.on_request(&mut exchange, http_body::Body::is_end_stream(&request_body)).await;
        requests.push(began.elapsed());
        let mut of_bodies = Duration::ZERO;
        if stop.is_continue() {
            let began = Instant::now();
            stop = walk::through(chain, &mut exchange, Direction::Request, request_body).await;
            of_bodies = began.elapsed();
        }
        match stop {
            ControlFlow::Continue(()) => exchange.response = upstream.clone(),
            ControlFlow::Break(Stop::Failed(failure)) => return Err(Error::told(failure.to_string())),
            ControlFlow::Break(_) => answered += 1,
        }
        exchange.phase = Phase::Response;
        let began = Instant::now();
        let stop = chain.on_response(&mut exchange, http_body::Body::is_end_stream(&response_body)).await;
        responses.push(began.elapsed());
        let began = Instant::now();
        let stop = match stop {
            ControlFlow::Continue(_) => walk::through(chain, &mut exchange, Direction::Response, response_body).await,
            ControlFlow::Break(stop) => ControlFlow::Break(stop),
        };
        bodies.push(of_bodies + began.elapsed());
        if let ControlFlow::Break(Stop::Failed(failure)) = stop {
            return Err(Error::told(failure.to_string()));
        }
        cast.iter().for_each(Cast::forget);
    }
    let answered = f64::from(answered) / requests.len() as f64;
    Ok(Round { request: median(requests), response: median(responses), bodies: median(bodies), answered })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Minimum number of exchanges, however slow a hook is.
const FEWEST: usize = 100;
/// Maximum number, however fast: a measurement is kept in memory.
const MOST: usize = 2_000_000;
/// Instances whose memory is measured, and those created before.
const COUNTED: usize = 32;
const FEW: usize = 8;
