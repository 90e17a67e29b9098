//! `rate-limit` limits how often a client may call, and tells it how much is left.
//!
//! The gateway keeps the buckets (the `rate-limit` capability), so a request costs one call for the key, one for the
//! bucket and one for the header fields of draft-ietf-httpapi-ratelimit-headers-10, which the gateway keeps until there
//! is a response. A refusal carries the fields itself.

use gatewright_sdk::{
    Decision, Exchange, Metric, Plugin, Response, StatusCode, config, log, plugin,
    rate_limit::{self, Outcome, Quota},
    rules,
    units::Rate,
};

mod fields;
mod key;

use fields::Fields;
use key::Partition;

/// Limits how often a client may call.
#[config]
#[derive(Debug)]
pub struct Config {
    /// How many requests in what time, such as `"100/min"`. Room for new ones grows evenly, not at the turn of a
    /// minute.
    limit: Rate,
    /// How many may come at once. As many as `limit` says unless set.
    #[schemars(range(min = 1))]
    burst: Option<u32>,
    /// Who shares one limit: `"ip"` (a client's address; the default), `"identity"` (a caller that an earlier plugin
    /// proved), `"route"` (all requests of a route), or `{ "header": NAME }` (requests with the same value). Without an
    /// identity or the header the address counts.
    #[serde(default)]
    by: By,
    /// What one request takes.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    cost: u32,
    /// How many leading bits of an IPv6 address count as one client. Who has one address has most often a /64.
    #[serde(default = "a_site")]
    #[schemars(range(min = 32, max = 128))]
    ipv6_prefix: u8,
    /// Whether responses carry `RateLimit` and `RateLimit-Policy`.
    #[serde(default = "yes")]
    headers: bool,
    /// The policy's name in these fields. Two limits on one route want two names.
    #[serde(default = "default_name")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9_.-]{1,64}$"))]
    name: String,
}

/// Who shares one limit.
#[config]
#[derive(Debug, Default)]
pub enum By {
    /// The client's address.
    #[default]
    Ip,
    /// The caller that an earlier plugin proved, or the address.
    Identity,
    /// All requests of the route together.
    Route,
    /// Requests with the same value of this header; those without it by their address. A client chooses its headers, so
    /// this is a limit among friends.
    Header(String),
}

const fn one() -> u32 {
    1
}

const fn a_site() -> u8 {
    64
}

const fn yes() -> bool {
    true
}

fn default_name() -> String {
    "default".to_owned()
}

static LIMITED: Metric = Metric::counter("limited", "Requests over the limit.", &[]);

/// The plugin.
#[derive(Debug)]
pub struct RateLimit {
    partition: Partition,
    quota: Quota,
    cost: u32,
    /// None where the responses carry no fields.
    fields: Option<Fields>,
    refusal: Response,
}

#[plugin]
impl Plugin for RateLimit {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&LIMITED];
    const WANTS: &'static [&'static str] = &["rate-limit"];

    fn new(config: Config) -> Result<Self, String> {
        let Config { limit, burst, by, cost, ipv6_prefix, headers, name } = config;
        let quota = Quota { requests: limit.count, per: limit.per, burst: burst.unwrap_or(limit.count) };
        if quota.burst == 0 {
            return Err("burst: at least 1".to_owned());
        }
        if !(1..=quota.burst).contains(&cost) {
            return Err(format!("cost: from 1 to the burst, which is {}", quota.burst));
        }
        if !(32..=128).contains(&ipv6_prefix) {
            return Err("ipv6_prefix: from 32 to 128".to_owned());
        }
        if let By::Header(header) = &by {
            rules::check_name(header).map_err(|why| format!("by: {header:?} {why}"))?;
        }
        let fields = Fields::new(&name, quota)?;
        Ok(Self {
            partition: Partition::new(by, ipv6_prefix),
            quota,
            cost,
            fields: headers.then_some(fields),
            refusal: Response::problem(
                StatusCode::TOO_MANY_REQUESTS,
                "Too Many Requests",
                "The limit of requests is reached; try again later.",
            ),
        })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let key = self.partition.key(exchange);
        let outcome = rate_limit::take(&key, self.quota, self.cost);
        if !outcome.allowed {
            LIMITED.add(1, &[]);
            return Decision::Respond(self.refusal(outcome));
        }
        if let Some(fields) = &self.fields {
            let told = exchange.response_headers().append_all(&fields.block(outcome.remaining, outcome.reset));
            if let Err(error) = told {
                log::warn("the response cannot tell the limit", &[("why", &error.to_string())]);
            }
        }
        Decision::Proceed
    }
}

impl RateLimit {
    fn refusal(&self, outcome: Outcome) -> Response {
        let retry_after = fields::seconds(outcome.retry_after).max(1);
        let refusal = self.refusal.clone().with_header("retry-after", retry_after.to_string());
        match &self.fields {
            Some(fields) => refusal
                .with_header(fields::POLICY, fields.policy.as_str())
                .with_header(fields::LIMIT, fields.limit(outcome.remaining, outcome.reset)),
            None => refusal,
        }
    }
}

#[cfg(test)]
mod tests;
