//! `services`: components that answer requests themselves.

use schemars::JsonSchema;
use serde::Deserialize;

use super::plugin::Source;
use super::units::{Duration, Size};

/// A component of the world `wasi:http/proxy@0.2` or `wasi:http/service@0.3`, as built by cargo, jco and
/// componentize-py; the component says which. Targets of routes name it; a component of `wasi:http/middleware@0.3` is
/// the last in the `plugins` of routes. Each request has its own instance, which ends with the response.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// "file:shop.wasm", relative to the directory of gateway.json. The file is watched.
    pub source: Source,

    /// What one request may use.
    #[serde(default)]
    pub limits: ServiceLimits,

    /// What it may access. Default: nothing. It has no files, no sockets and an empty environment.
    #[serde(default)]
    pub grants: ServiceGrants,
}

/// What one request to a service may use.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceLimits {
    /// CPU time, "1ms" to "60s". Waiting does not count. Beyond it: 504.
    pub time: Duration,

    /// Linear memory, "64KiB" to "1GiB". Beyond it: 502.
    pub memory: Size,

    /// How long until there is a response; its body may take longer. At most "10m". Beyond it: 504.
    pub response_timeout: Duration,

    /// How long the service may send no byte of a response body while the client is reading. At most "1h". After that,
    /// the body breaks off.
    pub body_timeout: Duration,

    /// Outgoing requests; further ones fail in the service.
    #[schemars(range(min = 0, max = 10_000))]
    pub callouts: u32,

    /// The longest wait for the response to one of them, whatever the service asks for. At most "5m".
    pub callout_timeout: Duration,

    /// Lines that it may print to stdout or stderr; more are dropped.
    #[schemars(range(min = 0, max = 100_000))]
    pub log_lines: u32,

    /// Concurrent requests, over all cores; further ones are answered with 503.
    #[schemars(range(min = 1, max = 1000))]
    pub requests: u32,
}

impl Default for ServiceLimits {
    fn default() -> ServiceLimits {
        ServiceLimits {
            time: Duration::seconds(1),
            memory: Size::mebibytes(64),
            response_timeout: Duration::seconds(30),
            body_timeout: Duration::seconds(5 * 60),
            callouts: 50,
            callout_timeout: Duration::seconds(10),
            log_lines: 100,
            requests: 100,
        }
    }
}

/// What a service may access.
#[derive(Clone, Debug, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceGrants {
    /// Upstreams that it may send requests to, by name: the host of "http://orders/1" is the upstream "orders".
    #[schemars(extend("uniqueItems" = true))]
    pub upstreams: Vec<String>,
}
