//! `to`: what a route's requests are sent to.

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::{or_string, two_forms};
use super::rewrite::{HeaderChanges, Redirect, Rewrite};

/// One of the places that a route's requests go to.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Target", transform = or_string)]
pub struct Target {
    /// The name of an upstream.
    #[serde(default)]
    pub upstream: Option<String>,

    /// In place of an upstream: the name of a service, a component that answers itself.
    #[serde(default)]
    pub service: Option<String>,

    /// In place of an upstream: this share of the requests is sent elsewhere.
    #[serde(default)]
    pub redirect: Option<Redirect>,

    /// Its share of the requests, beside those of the other targets. 0 gets none by itself: only what a plugin sends
    /// there.
    #[serde(default = "Target::default_weight")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: u32,

    /// What this target is asked for, in place of the route's `rewrite`.
    #[serde(default)]
    pub rewrite: Option<Rewrite>,

    /// Header fields of the requests to this target. What is the same for every target of a route is the `headers`
    /// plugin's.
    #[serde(default)]
    pub request_headers: HeaderChanges,

    /// Header fields of this target's responses, before the plugins see them.
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
