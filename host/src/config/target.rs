//! `to`: where a route's requests go.

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::{or_string, two_forms};
use super::rewrite::{HeaderChanges, Redirect, Rewrite};

/// A destination of a route's requests.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Target", transform = or_string)]
pub struct Target {
    /// The name of an upstream.
    #[serde(default)]
    pub upstream: Option<String>,

    /// Instead of an upstream: the name of a service, a component that answers itself.
    #[serde(default)]
    pub service: Option<String>,

    /// Instead of an upstream: redirects this share of the requests.
    #[serde(default)]
    pub redirect: Option<Redirect>,

    /// Its share of the requests, relative to the other targets. With 0 it gets only requests that a plugin sends
    /// there.
    #[serde(default = "Target::default_weight")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: u32,

    /// Changes the path and host of requests to this target, instead of the route's `rewrite`.
    #[serde(default)]
    pub rewrite: Option<Rewrite>,

    /// Changes to the header fields of requests to this target. For changes that are the same for all targets of a
    /// route, use the `headers` plugin.
    #[serde(default)]
    pub request_headers: HeaderChanges,

    /// Changes to the header fields of this target's responses, before the plugins see them.
    #[serde(default)]
    pub response_headers: HeaderChanges,
}
two_forms!(Target, short: String);

impl Target {
    const fn default_weight() -> u32 {
        1
    }
}

impl From<String> for Target {
    fn from(upstream: String) -> Target {
        Target {
            upstream: Some(upstream),
            service: None,
            redirect: None,
            weight: Target::default_weight(),
            rewrite: None,
            request_headers: HeaderChanges::default(),
            response_headers: HeaderChanges::default(),
        }
    }
}
