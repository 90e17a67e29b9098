//! `mirror`: where copies of a route's requests go.

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::{or_string, two_forms};
use super::rewrite::{HeaderChanges, Rewrite};
use super::units::{Duration, Size};

/// An upstream that gets copies of a route's requests, as its plugins left them. The answers are read and thrown away. A
/// copy can neither hold up nor fail its request: one that does not keep up is given up and counted.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Mirror", transform = or_string)]
pub struct Mirror {
    /// The name of an upstream that the route itself sends nothing to.
    pub upstream: String,

    /// So many of a hundred requests, each drawn at random; down to 0.0001.
    #[serde(default = "Mirror::default_percent")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: f64,

    /// What the mirror is asked for, in place of the route's `rewrite`.
    #[serde(default)]
    pub rewrite: Option<Rewrite>,

    /// Header fields of the copies.
    #[serde(default)]
    pub request_headers: HeaderChanges,

    /// Copies under way at a time, over all cores. What is over it is not copied.
    #[serde(default = "Mirror::default_max_concurrent")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_concurrent: u32,

    /// How far a copy's body may be behind that of its request. From "1KiB" to "16MiB".
    #[serde(default = "Mirror::default_max_buffer")]
    pub max_buffer: Size,

    /// From the end of the request's body to the end of the mirror's answer. At most "5m".
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
