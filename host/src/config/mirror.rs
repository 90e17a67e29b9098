//! `mirror`: where copies of a route's requests go.

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::{or_string, two_forms};
use super::rewrite::{HeaderChanges, Rewrite};
use super::units::{Duration, Size};

/// An upstream that gets copies of a route's requests, as changed by its plugins. Its responses are read and discarded.
/// A copy can neither delay its request nor make it fail: one that does not keep up is abandoned and counted.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Mirror", transform = or_string)]
pub struct Mirror {
    /// The name of an upstream that the route itself does not use.
    pub upstream: String,

    /// The percentage of requests that are copied, at random; down to 0.0001.
    #[serde(default = "Mirror::default_percent")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: f64,

    /// Rewrites the copies, instead of the route's `rewrite`.
    #[serde(default)]
    pub rewrite: Option<Rewrite>,

    /// Changes to the header fields of the copies.
    #[serde(default)]
    pub request_headers: HeaderChanges,

    /// Copies in flight, over all cores. Requests beyond that are not copied.
    #[serde(default = "Mirror::default_max_concurrent")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_concurrent: u32,

    /// How far a copy's body may lag behind its request's. From "1KiB" to "16MiB".
    #[serde(default = "Mirror::default_max_buffer")]
    pub max_buffer: Size,

    /// The time from the end of the request body to the end of the mirror's response. At most "5m".
    #[serde(default = "Mirror::default_timeout")]
    pub timeout: Duration,
}
two_forms!(Mirror, short: String);

impl Mirror {
    const fn default_percent() -> f64 {
        100.0
    }

    const fn default_max_concurrent() -> u32 {
        100
    }

    const fn default_max_buffer() -> Size {
        Size::kibibytes(64)
    }

    const fn default_timeout() -> Duration {
        Duration::seconds(15)
    }
}

impl From<String> for Mirror {
    fn from(upstream: String) -> Mirror {
        Mirror {
            upstream,
            percent: Mirror::default_percent(),
            rewrite: None,
            request_headers: HeaderChanges::default(),
            max_concurrent: Mirror::default_max_concurrent(),
            max_buffer: Mirror::default_max_buffer(),
            timeout: Mirror::default_timeout(),
        }
    }
}
