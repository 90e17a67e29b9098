//! `response_cache`, and `cache` of a route: caching of responses.

use schemars::JsonSchema;
use serde::Deserialize;

use super::units::{Duration, Size};

/// What all routes that remember responses share.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResponseCache {
    /// How much of them is kept in memory, over all routes and cores. What is used least goes first. From "64KiB" to
    /// "64GiB"; a change forgets what is there.
    pub memory: Size,
}

impl Default for ResponseCache {
    fn default() -> ResponseCache {
        ResponseCache { memory: Size::mebibytes(64) }
    }
}

/// How a route remembers responses (RFC 9111): those that their server lets a shared cache have. `{}` has every default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RouteCache {
    /// The longest body that is kept. A longer one goes through, and so does one that takes more than there is for one
    /// address: all of a `response_cache.memory` below 16 MiB, else at least 7.7 MiB, and from 128 MiB on 6 percent of it.
    /// At most "1GiB".
    pub max_body: Size,

    /// How long a response is fresh that does not say, but may be kept. Default: a tenth of the time since its
    /// `Last-Modified`, at most a day; without one, it is asked about each time.
    pub default_ttl: Option<Duration>,

    /// How long a response may be used after it was fresh, while it is asked about in the background; where it does not say
    /// itself (RFC 5861). Default: not at all.
    pub stale_while_revalidate: Option<Duration>,

    /// How long a response may be used after it was fresh, where the upstream fails or answers 500, 502, 503 or 504; where
    /// it does not say itself (RFC 5861). Default: not at all.
    pub stale_if_error: Option<Duration>,

    /// One request at a time fetches what others ask for as well. How long these wait for it before they ask the upstream
    /// themselves. At most "5m".
    pub wait: Duration,

    /// Whether the `Cache-Control` of requests counts: `no-cache`, `no-store`, `max-age`, `min-fresh`, `max-stale` and
    /// `only-if-cached`. Where it does not, no client can make the upstream be asked more often.
    pub client_directives: bool,

    /// Whether cookies keep nothing from being remembered. Where they do, a response that sets one is not kept at all, and
    /// the answer to a request with one only if it says `public`, `s-maxage` or `must-revalidate`, like the answer to any
    /// proved caller.
    pub cookies: bool,

    /// Whether responses say by `Cache-Status` (RFC 9211) what the cache did.
    pub cache_status: bool,
}

impl Default for RouteCache {
    fn default() -> RouteCache {
        RouteCache {
            max_body: Size::mebibytes(1),
            default_ttl: None,
            stale_while_revalidate: None,
            stale_if_error: None,
            wait: Duration::seconds(5),
            client_directives: true,
            cookies: false,
            cache_status: true,
        }
    }
}
