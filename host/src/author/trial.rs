//! `plugin test`: runs cases against a built component.

use std::sync::Arc;

use super::cases::{Case, Cases, Step};
use super::compare::{Difference, compare};
use super::stage::{Cast, Refused, Stage};
use super::{Error, walk};
use crate::capability::metrics::Value;
use crate::config;
use crate::plugin::{Chain, Isolation};

/// The result of one case.
pub struct Verdict {
    pub name: String,
    /// The line of the case in its file.
    pub line: usize,
    /// The differences from the expectation, each with the number of its step (from 1) if there are several steps.
    pub differences: Vec<(Option<usize>, String)>,
}

impl Verdict {
    pub fn is_good(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Runs every case of a file whose name contains `filter`, one after another.
///
/// # Errors
/// A case cannot be run at all.
pub fn run(stage: &Stage, cases: &Cases, filter: &str) -> Result<Vec<Verdict>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::told(format!("no runtime: {error}")))?;
    let chosen = cases.file.cases.iter().enumerate().filter(|(_, case)| case.name.contains(filter));
    chosen.map(|(index, case)| runtime.block_on(judge(stage, cases, index, case))).collect()
}

async fn judge(stage: &Stage, cases: &Cases, index: usize, case: &Case) -> Result<Verdict, Error> {
    let pointer = config::child("/cases", index);
    let mut verdict = Verdict { name: case.name.clone(), line: cases.document.line(&pointer), differences: Vec::new() };
    let config = case.config.as_ref().unwrap_or(&cases.file.config);
    let at = if case.config.is_some() { config::child(&pointer, "config") } else { "/config".to_owned() };
    let cast = match (stage.cast(cases, config, (&cases.document, &at), Isolation::Shared), &case.refused) {
        (Ok(cast), None) => cast,
        (Ok(_), Some(words)) => {
            verdict.differs(None, "the configuration", &format!("refused: {words}"), "accepted");
            return Ok(verdict);
        }
        (Err(refused), Some(words)) => {
            let said = refused.to_string();
            if !said.contains(words.as_str()) {
                verdict.differs(None, "the refusal", words, &said);
            }
            return Ok(verdict);
        }
        (Err(refused), None) => {
            verdict.differs(None, "the configuration", "accepted", &refused.to_string());
            return Ok(verdict);
        }
    };
    let steps = case.steps();
    let chain = Arc::new(Chain::new(vec![cast.plugin.clone()]));
    for (number, step) in steps.iter().enumerate() {
        let number = (steps.len() > 1).then_some(number + 1);
        let differences = play(&cast, &chain, step, &cases.file.route).await?;
        verdict.differences.extend(differences.into_iter().map(|difference| (number, difference.to_string())));
    }
    Ok(verdict)
}

async fn play(cast: &Cast, chain: &Arc<Chain>, step: &Step, route: &[String]) -> Result<Vec<Difference>, Error> {
    let mut exchange = walk::start(step, route)?;
    let mut outcome = walk::walk(chain, step, &mut exchange).await;
    outcome.unanswered = cast.fixtures.iter().flat_map(|fixtures| fixtures.take_unanswered()).collect();
    cast.plugin.lent().abilities.metrics.for_each(|sample| {
        let name = match sample.label_values {
            [] => sample.metric.name.clone(),
            values => format!("{}{{{}}}", sample.metric.name, values.join(",")),
        };
        let value = match sample.value {
            Value::Counter(count) => count as f64,
            Value::Gauge(value) => value,
            // The number of observations.
            Value::Histogram { count, .. } => count as f64,
        };
        outcome.metrics.push((name, value));
    });
    Ok(compare(&step.expect, &outcome))
}

impl Verdict {
    fn differs(&mut self, step: Option<usize>, what: &str, expected: &str, found: &str) {
        let difference = Difference { what: what.into(), expected: expected.into(), found: found.into() };
        self.differences.push((step, difference.to_string()));
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refused::Report(report) => f.write_str(report.render(false).trim_end()),
            Refused::Words(words) => f.write_str(words),
        }
    }
}
