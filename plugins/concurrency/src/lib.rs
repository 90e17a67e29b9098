//! `concurrency` limits how many requests are in progress at once.
//!
//! The gateway counts (the `concurrency` capability), over all its cores, and the exchange itself gives its place back
//! when it ends. So the plugin cannot forget to do so when a client leaves.

use std::num::NonZeroU32;

use gatewright_sdk::{
    Decision, Exchange, Metric, Plugin, Response, StatusCode, concurrency, config,
    consumers::Own,
    partition::{By, Part, Partition},
    plugin,
    schemars::{JsonSchema, Schema, SchemaGenerator},
};

/// Limits how many requests are in flight at once.
#[config]
#[derive(Debug)]
pub struct Config {
    /// How many requests may be in flight at once.
    #[schemars(range(min = 1))]
    limit: u32,
    /// Whether the own limit of a consumer (a number, under `concurrency` in its `limits`) replaces this one. Requires
    /// `"by": "identity"`.
    #[serde(default)]
    consumers: bool,
    /// What is limited; requests with the same key share one limit: `"ip"` (a client's address; the default),
    /// `"identity"` (a caller that an earlier plugin authenticated), `"route"` (all requests of a route),
    /// `{ "header": NAME }` (requests with the same value), `cookie`, `query`, `path` (a parameter of the route's path)
    /// and `claim` likewise, or a list: requests that agree in all of its items. Without a value, the address counts.
    #[serde(default)]
    by: By,
    /// How many leading bits of an IPv6 address count as one client. Most clients have a whole /64.
    #[serde(default = "a_site")]
    #[schemars(range(min = 32, max = 128))]
    ipv6_prefix: u8,
}

const fn a_site() -> u8 {
    64
}

static LIMITED: Metric = Metric::counter("limited", "Requests for which there was no place.", &[]);

/// The plugin.
#[derive(Debug)]
pub struct Concurrency {
    limit: u32,
    own: Own<u32>,
    partition: Partition,
    refusal: Response,
}

#[plugin]
impl Plugin for Concurrency {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&LIMITED];
    const WANTS: &'static [&'static str] = &["concurrency"];
    const LIMIT: Option<fn(&mut SchemaGenerator) -> Schema> = Some(NonZeroU32::json_schema);

    fn new(config: Config) -> Result<Self, String> {
        let Config { limit, consumers, by, ipv6_prefix } = config;
        if limit == 0 {
            return Err("limit: at least 1".to_owned());
        }
        by.check_consumers(consumers)?;
        // A client that has too many requests at once is told so; if all clients together have too many, none is at
        // fault.
        let refusal = match by {
            By::One(Part::Route) => Response::problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "Service Unavailable",
                "Too many requests are under way; try again soon.",
            ),
            _ => Response::problem(
                StatusCode::TOO_MANY_REQUESTS,
                "Too Many Requests",
                "Too many of your requests are under way; wait until one is over.",
            ),
        };
        let partition = Partition::new(by, ipv6_prefix)?;
        let own = Own::read(consumers, |limit: NonZeroU32| Ok(limit.get()))?;
        Ok(Self { limit, own, partition, refusal: refusal.with_header("retry-after", "1") })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let limit = self.own.of(exchange).unwrap_or(&self.limit);
        if concurrency::enter(&self.partition.key(exchange), *limit).allowed {
            return Decision::Proceed;
        }
        LIMITED.add(1, &[]);
        Decision::Respond(self.refusal.clone())
    }
}

#[cfg(test)]
mod tests;
