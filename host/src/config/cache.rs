//! `response_cache`, and `cache` of a route: caching of responses.

use schemars::JsonSchema;
use serde::Deserialize;

use super::units::{Duration, Size};

/// Settings that all routes with a `cache` share.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResponseCache {
    /// The memory for cached responses, over all routes and cores. The least used are evicted first. From "64KiB" to
    /// "64GiB". Changing it empties the cache.
    pub memory: Size,
}

impl Default for ResponseCache {
    fn default() -> ResponseCache {
        ResponseCache { memory: Size::mebibytes(64) }
    }
}

/// Caches responses of a route (RFC 9111), if their server allows a shared cache to store them. `{}` has every default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RouteCache {
    /// The largest body that is cached. A larger one passes through uncached, and so does one that exceeds the space
    /// for a single URL: all of a `response_cache.memory` below 16 MiB, else at least 7.7 MiB, and from 128 MiB on 6
    /// percent of it. At most "1GiB".
    pub max_body: Size,

    /// How long a cacheable response without an explicit lifetime is fresh. Default: a tenth of the time since its
    /// `Last-Modified`, at most a day; without `Last-Modified`, it is revalidated each time.
    pub default_ttl: Option<Duration>,

    /// How long a stale response may still be served while it is revalidated in the background, unless the response
    /// says so itself (RFC 5861). Default: not at all.
    pub stale_while_revalidate: Option<Duration>,

    /// How long a stale response may be served if the upstream fails or answers 500, 502, 503 or 504, unless the
    /// response says so itself (RFC 5861). Default: not at all.
    pub stale_if_error: Option<Duration>,

    /// How long requests wait for another request's fetch of the same response before they ask the upstream themselves.
    /// At most "5m".
    pub wait: Duration,

    /// Whether the `Cache-Control` of requests is honoured: `no-cache`, `no-store`, `max-age`, `min-fresh`, `max-stale`
    /// and `only-if-cached`. If false, no client can cause additional requests to the upstream.
    pub client_directives: bool,

    /// Whether cookies are ignored when deciding what to cache. If false, a response that sets a cookie is not cached
    /// at all, and the response to a request with a cookie only if it says `public`, `s-maxage` or `must-revalidate`,
    /// as for any authenticated caller.
    pub cookies: bool,

    /// Whether responses report in `Cache-Status` (RFC 9211) what the cache did.
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
