//! The configuration as the operator writes it.

use std::{collections::BTreeMap, time::Duration};

use gatewright_sdk::{
    config,
    json::Value,
    serde::Serialize,
    units::{Size, Span},
};

/// Combines the responses of several upstreams into one: they are called concurrently, or one after another if one
/// needs another's response.
///
/// In templates, `$(PLACE)` is a value: `$(path.NAME)`, `$(query.NAME)`, `$(header.NAME)`, `$(identity.subject)`,
/// `$(identity.claims/POINTER)`, `$(body/POINTER)`, `$(parts.NAME/POINTER)`, an attribute such as `$(source.address)`,
/// and `$(PLACE:-DEFAULT)`. A part that refers to another one is called after it.
#[config]
#[derive(Debug)]
pub struct Config {
    /// The path to answer, with names for segments, such as `"/users/{id}/page"`; others get 404. Default: any path.
    pub(crate) path: Option<String>,
    /// The upstream calls, by name, 1 to 32. Each upstream must be granted, and `limits.callouts` of the plugin must be
    /// at least their number.
    #[schemars(length(min = 1, max = 32))]
    pub(crate) parts: BTreeMap<String, Part>,
    /// The answer if no required part failed. Default: every part's response, by name.
    #[serde(default)]
    pub(crate) answer: Answer,
    /// How long everything may take.
    #[serde(default = "five_seconds")]
    pub(crate) deadline: Span,
    /// The maximum size of one part's response. `limits.body` of the plugin bounds it as well.
    #[serde(default = "size::<256>")]
    pub(crate) max_part_size: Size,
    /// The maximum size of all parts' responses together, and of the answer.
    #[serde(default = "size::<512>")]
    pub(crate) max_size: Size,
    /// The maximum size of the request body, if a template has `$(body)`.
    #[serde(default = "size::<256>")]
    pub(crate) max_request_size: Size,
    /// How deep compositions may be nested, from 1 to 10. Parts carry their depth in `x-compose-depth`; a request that
    /// is already this deep gets 508.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 10))]
    pub(crate) max_depth: u32,
}

/// An upstream call.
#[config]
#[derive(Debug)]
pub struct Part {
    /// The name of the upstream to call.
    #[schemars(length(min = 1), extend("format" = "gateway-upstream"))]
    pub(crate) upstream: String,
    /// The method.
    #[serde(default = "get")]
    pub(crate) method: String,
    /// A template of the path with its query. Values are percent-encoded; one in the path must not be empty, `.` or
    /// `..`.
    pub(crate) path: String,
    /// Headers, each with a template. One whose values are missing is left out.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// Headers of the request that are passed on unchanged.
    #[serde(default = "tracing")]
    pub(crate) forward: Vec<String>,
    /// A template of a JSON body. A text that consists of one `$(PLACE)` becomes that value, whatever its type.
    pub(crate) body: Option<Value>,
    /// How long its response may take, at most `limits.callout_timeout` of the plugin.
    #[serde(default = "one_second")]
    pub(crate) timeout: Span,
    /// The form of its response.
    #[serde(default)]
    pub(crate) read: Read,
    /// Whether the composition succeeds without it. If it fails, its value is `default`, and `$(failed)` contains its
    /// name.
    #[serde(default)]
    pub(crate) optional: bool,
    /// The value of an optional part that failed.
    #[serde(default)]
    pub(crate) default: Value,
    /// Statuses of a required part, from 400 to 499, that the client gets instead of 502, such as 404.
    #[serde(default)]
    pub(crate) pass: Vec<u16>,
    /// Parts that it waits for, besides those that its templates refer to.
    #[serde(default)]
    pub(crate) after: Vec<String>,
}

/// The form of a part's response. An empty one is `null`.
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
    /// Headers, each with a template. One whose values are missing is left out.
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

/// Headers that belong to a request rather than to its client.
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
