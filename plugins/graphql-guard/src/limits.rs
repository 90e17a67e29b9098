//! What a request may ask for, and the messages of refusals.

use std::collections::BTreeMap;

use gatewright_sdk::{StatusCode, config};

use crate::{
    count::{self, Counts},
    request::Operation,
};

/// The limits of one document. Each has a default.
#[config]
#[derive(Clone, Debug)]
pub struct Limits {
    /// How deep fields may be nested.
    #[serde(default = "depth")]
    #[schemars(range(min = 1, max = 64))]
    depth: u32,
    /// How many fields may have an alias. Without a limit, one field could be requested a thousand times.
    #[serde(default = "aliases")]
    aliases: u64,
    /// How many directives a document may have.
    #[serde(default = "directives")]
    directives: u64,
    /// The maximum cost of a document. A field costs 1, or the value in `costs`, times the sizes that the fields around
    /// it ask for.
    #[serde(default = "cost")]
    #[schemars(range(min = 1))]
    cost: u64,
    /// The costs of fields, by name.
    #[serde(default)]
    costs: BTreeMap<String, u64>,
    /// Arguments that say how many items a field returns. Its subfields cost that many times as much.
    #[serde(default = "sizes")]
    sizes: Vec<String>,
    /// How many requests one batch may have.
    #[serde(default = "batch")]
    #[schemars(range(min = 1))]
    batch: usize,
    /// How many tokens a document may have.
    #[serde(default = "tokens")]
    #[schemars(range(min = 1, max = 100_000))]
    tokens: usize,
}

/// Documents that the operator has registered.
#[config]
#[derive(Clone, Debug)]
pub struct Persisted {
    /// The documents, by the name that clients use, usually a hash: in `extensions.persistedQuery.sha256Hash`, `id` or
    /// `documentId`.
    documents: BTreeMap<String, String>,
    /// Whether all other documents are refused.
    #[serde(default = "only")]
    only: bool,
}

const fn depth() -> u32 {
    12
}
const fn aliases() -> u64 {
    30
}
const fn directives() -> u64 {
    50
}
const fn cost() -> u64 {
    5000
}
fn sizes() -> Vec<String> {
    ["first", "last", "limit"].map(str::to_owned).to_vec()
}
const fn batch() -> usize {
    1
}
const fn tokens() -> usize {
    5000
}
const fn only() -> bool {
    true
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: depth(),
            aliases: aliases(),
            directives: directives(),
            cost: cost(),
            costs: BTreeMap::new(),
            sizes: sizes(),
            batch: batch(),
            tokens: tokens(),
        }
    }
}

/// Why a request is not sent on.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub status: StatusCode,
    /// For the metric.
    pub reason: &'static str,
    pub detail: String,
    pub allow: Option<&'static str>,
}

impl Refusal {
    fn new(status: StatusCode, reason: &'static str, detail: String) -> Self {
        Self { status, reason, detail, allow: None }
    }

    pub(crate) fn malformed(why: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", format!("This is no GraphQL request: {why}."))
    }

    pub(crate) fn media_type() -> Self {
        let detail = "The body is application/json or application/graphql, without a content coding.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail.to_owned())
    }

    pub(crate) fn method(allow: &'static str) -> Self {
        let detail = "This cannot be asked for with this method.";
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail.to_owned()) }
    }

    fn over(reason: &'static str, what: &str, have: u64, most: u64) -> Self {
        let have = if have == u64::MAX { "more than can be counted".to_owned() } else { have.to_string() };
        Self::new(
            StatusCode::BAD_REQUEST,
            reason,
            format!("The document has {what} {have}, and at most {most} is allowed."),
        )
    }
}

/// Says whether a request may be sent on.
#[derive(Debug)]
pub(crate) struct Judge {
    limits: Limits,
    introspection: bool,
    persisted: Option<Persisted>,
}

impl Judge {
    /// # Errors
    /// What is wrong with the configuration.
    pub(crate) fn new(limits: Limits, introspection: bool, persisted: Option<Persisted>) -> Result<Self, String> {
        if !(1..=64).contains(&limits.depth) {
            return Err("limits.depth: from 1 to 64".to_owned());
        }
        if let Some(persisted) = &persisted {
            for (id, document) in &persisted.documents {
                count::count(document, &crate::Variables::new(), &limits.counting())
                    .map_err(|why| format!("persisted.documents: {id:?} is no GraphQL: {why}"))?;
            }
        }
        Ok(Self { limits, introspection, persisted })
    }

    /// How many requests came at once.
    pub(crate) fn count(&self, requests: usize) -> Result<(), Refusal> {
        match requests {
            0 => Err(Refusal::malformed("the list is empty")),
            count if count > self.limits.batch => {
                let most = self.limits.batch;
                let detail = format!("There are {count} requests in the list, and at most {most} is allowed.");
                Err(Refusal::new(StatusCode::BAD_REQUEST, "batch", detail))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn judge(&self, operation: &Operation, is_get: bool) -> Result<(), Refusal> {
        let known = self.known(operation)?;
        // The operator has read it: the limits are for what clients make up.
        if known.is_some() && !is_get {
            return Ok(());
        }
        let document: &str = match (known, &operation.document) {
            (Some(known), _) => known,
            (None, Some(document)) => document,
            // The upstream may know it. What it then does was asked for before.
            (None, None) if operation.id.is_some() => return Ok(()),
            (None, None) => return Err(Refusal::malformed("there is no query")),
        };
        let counts = count::count(document, &operation.variables, &self.limits.counting())
            .map_err(|why| Refusal::malformed(&why))?;
        if is_get && counts.changes {
            return Err(Refusal::method("POST"));
        }
        if known.is_some() { Ok(()) } else { self.check(&counts) }
    }

    fn check(&self, counts: &Counts) -> Result<(), Refusal> {
        let limits = &self.limits;
        for (reason, what, have, most) in [
            ("depth", "a depth of", counts.depth, u64::from(limits.depth)),
            ("aliases", "a number of aliases of", counts.aliases, limits.aliases),
            ("directives", "a number of directives of", counts.directives, limits.directives),
            ("cost", "a cost of", counts.cost, limits.cost),
        ] {
            if have > most {
                return Err(Refusal::over(reason, what, have, most));
            }
        }
        if counts.introspects && !self.introspection {
            let detail = "The schema cannot be asked for.".to_owned();
            return Err(Refusal::new(StatusCode::FORBIDDEN, "introspection", detail));
        }
        Ok(())
    }

    /// The document that a request names, or that it is; `None` where others may be asked for and it is one.
    fn known(&self, operation: &Operation) -> Result<Option<&str>, Refusal> {
        let Some(persisted) = &self.persisted else { return Ok(None) };
        let named = operation.id.as_ref().and_then(|id| persisted.documents.get(id));
        let found = match (named, &operation.document) {
            // What it sends along must be what it names, for nobody knows which of the two the upstream takes.
            (Some(known), Some(sent)) => (known == sent).then_some(known),
            (Some(known), None) => Some(known),
            (None, Some(sent)) if operation.id.is_none() => persisted.documents.values().find(|known| *known == sent),
            (None, _) => None,
        };
        if found.is_none() && (persisted.only || named.is_some()) {
            let detail = "Only documents that are known can be asked for.".to_owned();
            return Err(Refusal::new(StatusCode::FORBIDDEN, "persisted", detail));
        }
        Ok(found.map(String::as_str))
    }
}

impl Limits {
    fn counting(&self) -> count::Rules<'_> {
        // A document that is deeper than this is not even read.
        let nesting = (self.depth as usize).saturating_mul(2).clamp(64, 128);
        count::Rules { costs: &self.costs, sizes: &self.sizes, tokens: self.tokens, nesting }
    }
}
