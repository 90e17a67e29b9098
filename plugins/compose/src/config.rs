//! The configuration as the operator writes it.

use std::{collections::BTreeMap, time::Duration};

use gatewright_sdk::{
    config,
    json::Value,
    serde::Serialize,
    units::{Size, Span},
};

/// Answers a request with what several upstreams say, asked at once, or one after the other where one needs what another said.
///
/// In templates `$(PLACE)` is a value: `$(path.NAME)`, `$(query.NAME)`, `$(header.NAME)`, `$(identity.subject)`,
/// `$(identity.claims/POINTER)`, `$(body/POINTER)`, `$(parts.NAME/POINTER)`, an attribute such as `$(source.address)`, and
/// `$(PLACE:-DEFAULT)`. A part that names another one is asked after it.
#[config]
#[derive(Debug)]
pub struct Config {
    /// The path of the requests that are answered, with names for segments, such as `"/users/{id}/page"`; others get 404. Without
    /// it every path is.
    pub(crate) path: Option<String>,
    /// What is asked, by name. From 1 to 32. Each upstream has to be granted, and `limits.callouts` of the plugin has to be their
    /// number.
    #[schemars(length(min = 1, max = 32))]
    pub(crate) parts: BTreeMap<String, Part>,
    /// What the client gets where no required part failed. Without it every part's answer, by name.
    #[serde(default)]
    pub(crate) answer: Answer,
    /// How long all of it may take.
    #[serde(default = "five_seconds")]
    pub(crate) deadline: Span,
    /// The longest answer of one part. `limits.body` of the plugin bounds it as well.
    #[serde(default = "size::<256>")]
    pub(crate) max_part_size: Size,
    /// The longest that all answers together may be, and that the answer may be.
    #[serde(default = "size::<512>")]
    pub(crate) max_size: Size,
    /// The longest request body, where a template has `$(body)`.
    #[serde(default = "size::<256>")]
    pub(crate) max_request_size: Size,
    /// How many compositions may be within each other, from 1 to 10. Parts tell in `x-compose-depth` how deep they are; a request
    /// that is this deep already gets 508.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 10))]
    pub(crate) max_depth: u32,
}

/// One call.
#[config]
#[derive(Debug)]
pub struct Part {
    /// The name of the upstream that is asked.
    #[schemars(length(min = 1))]
    pub(crate) upstream: String,
    /// The method.
    #[serde(default = "get")]
    pub(crate) method: String,
    /// A template of the path with its query. Values are percent-encoded; one in the path may be neither empty nor `.` nor `..`.
    pub(crate) path: String,
    /// Headers, each with a template. One whose values are not there is left out.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// Headers of the request that are sent as they are.
    #[serde(default = "tracing")]
    pub(crate) forward: Vec<String>,
    /// A template of a JSON body. A text that is one `$(PLACE)` becomes the value that is there, whatever it is.
    pub(crate) body: Option<Value>,
    /// How long its answer may take; never longer than `limits.callout_timeout` of the plugin.
    #[serde(default = "one_second")]
    pub(crate) timeout: Span,
    /// What is read of its answer.
    #[serde(default)]
    pub(crate) read: Read,
    /// Whether there is an answer without it. One that fails is its `default` then, and `$(failed)` names it.
    #[serde(default)]
    pub(crate) optional: bool,
    /// What stands for an optional part that failed.
    #[serde(default)]
    pub(crate) default: Value,
    /// Statuses of a required part, from 400 to 499, that the client gets in the place of 502, such as 404.
    #[serde(default)]
    pub(crate) pass: Vec<u16>,
    /// Parts that it is asked after, beside those that its templates name.
    #[serde(default)]
    pub(crate) after: Vec<String>,
}

/// What is read of a part's answer. One that is empty is `null`.
#[config]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) enum Read {
    /// JSON, whatever its `content-type` says.
    #[default]
    Json,
    /// Text in UTF-8.
    Text,
}

/// What the client gets.
#[config]
#[derive(Debug)]
pub struct Answer {
    /// The status, from 200 to 599.
    #[serde(default = "ok")]
    #[schemars(range(min = 200, max = 599))]
    pub(crate) status: u16,
    /// Headers, each with a template. One whose values are not there is left out.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// A template of the JSON body.
    pub(crate) body: Option<Value>,
}

impl Default for Answer {
    fn default() -> Self {
        Self { status: ok(), headers: BTreeMap::new(), body: None }
    }
}

fn get() -> String {
    "GET".to_owned()
}

/// What belongs to a request and not to its client.
fn tracing() -> Vec<String> {
    ["traceparent", "tracestate", "x-request-id"].map(str::to_owned).to_vec()
}

const fn one_second() -> Span {
    Span(Duration::from_secs(1))
}

const fn five_seconds() -> Span {
    Span(Duration::from_secs(5))
}

const fn size<const KIBIBYTES: u64>() -> Size {
    Size(KIBIBYTES << 10)
}

const fn three() -> u32 {
    3
}

const fn ok() -> u16 {
    200
}
