//! `rate-limit` limits how often a client may call, and tells the client how much is left.
//!
//! The gateway counts (the `rate-limit` capability), so a request costs one call for the key, one for the decision and
//! one for the header fields of draft-ietf-httpapi-ratelimit-headers-10, which the gateway keeps until there is a
//! response. A refusal carries the fields itself.

use gatewright_sdk::{
    Decision, Exchange, Hook, Metric, Plugin, Response, StatusCode, config, consumers, log,
    partition::{By, Partition},
    plugin,
    rate_limit::{self, LimitError, Outcome, Rule},
    rules,
    schemars::{JsonSchema, Schema, SchemaGenerator},
    serde::{Deserialize, Serialize},
    serde_json::{self, json},
    units::Rate,
};

mod fields;
mod limit;

use fields::Fields;
use limit::{Kind, Limit, Own};

/// Limits how often a client may call: `limit`, or several `limits` at once.
#[config]
#[derive(Debug)]
#[schemars(extend("oneOf" = [{ "required": ["limit"] }, { "required": ["limits"] }]))]
pub struct Config {
    /// The number of requests per period, such as `"100/min"`.
    limit: Option<Rate>,
    /// How requests are counted: `"bucket"` (capacity is restored evenly; the default), `"fixed"` (every window starts
    /// with the full number) or `"sliding"` (the previous window still counts, with decreasing weight).
    #[serde(default)]
    window: Kind,
    /// The capacity of a bucket: how many may come at once. Default: the count of `limit`.
    #[schemars(range(min = 1))]
    burst: Option<u32>,
    /// The policy's name in response headers. Two limits on one route need different names.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_.-]{1,64}$"))]
    name: Option<String>,
    /// Several limits, each an object with `limit`, `window`, `burst` and `name`. A request must be under all of them;
    /// one that any of them refuses is counted by none.
    #[serde(default)]
    #[schemars(length(min = 1, max = 16))]
    limits: Vec<Limit>,
    /// Whether the own limit of a consumer, under `rate-limit` in its `limits`, replaces these. Requires
    /// `"by": "identity"`.
    #[serde(default)]
    consumers: bool,
    /// What is limited; requests with the same key share one limit: `"ip"` (a client's address; the default),
    /// `"identity"` (a caller that an earlier plugin authenticated), `"route"` (all requests of a route),
    /// `{ "header": NAME }` (requests with the same value), `cookie`, `query`, `path` (a parameter of the route's path)
    /// and `claim` likewise, or a list: requests that agree in all of its items. Without a value, the address counts.
    #[serde(default)]
    by: By,
    /// How much one request counts.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    cost: u32,
    /// The request header that gives the cost, instead of `cost`. A request without it, or with anything but a number
    /// from 1 up, costs `cost`. Only an earlier plugin or a proxy in front of the gateway should set it.
    cost_header: Option<String>,
    /// The response header that gives the final cost of the request. If it is more than what was charged, the
    /// difference is charged then; if less than that is left, all of it. A response without the header, or with
    /// anything but a number, is charged nothing more.
    response_cost_header: Option<String>,
    /// How many leading bits of an IPv6 address count as one client. Most clients have a whole /64.
    #[serde(default = "a_site")]
    #[schemars(range(min = 32, max = 128))]
    ipv6_prefix: u8,
    /// Whether responses carry `RateLimit` and `RateLimit-Policy`.
    #[serde(default = "yes")]
    headers: bool,
}

/// How often to retry taking a response's remaining cost, each time with what is left.
const ROUNDS: usize = 4;

const fn one() -> u32 {
    1
}

const fn a_site() -> u8 {
    64
}

const fn yes() -> bool {
    true
}

static LIMITED: Metric = Metric::counter("limited", "Requests over the limit.", &[]);

/// The plugin.
#[derive(Debug)]
pub struct RateLimit {
    partition: Partition,
    everybody: Counted,
    own: consumers::Own<Counted>,
    cost: u32,
    cost_header: Option<String>,
    response_cost_header: Option<String>,
    refusal: Response,
    /// The refusal of a request that costs more than there ever is.
    too_dear: Response,
    unavailable: Response,
}

/// The limits of a client.
#[derive(Debug)]
struct Counted {
    rules: Vec<Rule>,
    /// What a request can cost at most.
    most: u32,
    /// `None` if responses carry no fields.
    fields: Option<Fields>,
}

impl Counted {
    fn new(limits: &[Limit], cost: u32, headers: bool) -> Result<Self, String> {
        if limits.len() > 16 {
            return Err("limits: at most 16".to_owned());
        }
        limits.iter().try_for_each(|limit| limit.check(cost))?;
        let fields = Fields::new(limits)?;
        let most = limits.iter().map(Limit::at_once).min().unwrap_or_default();
        Ok(Self { rules: limits.iter().map(Limit::rule).collect(), most, fields: headers.then_some(fields) })
    }

    /// Takes from all limits or from none. A single token bucket has a call of its own, which makes no lists.
    fn take<T>(&self, key: &str, cost: u32, then: impl FnOnce(&[Outcome]) -> T) -> Result<T, LimitError> {
        match self.rules.as_slice() {
            [Rule::TokenBucket(quota)] => Ok(then(&[rate_limit::take(key, *quota, cost)])),
            rules => rate_limit::take_all(key, rules, cost).map(|outcomes| then(&outcomes)),
        }
    }
}

#[plugin]
impl Plugin for RateLimit {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&LIMITED];
    const WANTS: &'static [&'static str] = &["rate-limit"];
    const LIMIT: Option<fn(&mut SchemaGenerator) -> Schema> = Some(Own::json_schema);

    fn new(config: Config) -> Result<Self, String> {
        let Config { limit, window, burst, name, mut limits, consumers, by, cost, ipv6_prefix, headers, .. } = config;
        let (cost_header, response_cost_header) = (config.cost_header, config.response_cost_header);
        match limit {
            Some(limit) if limits.is_empty() => limits.push(Limit { limit, window, burst, name }),
            Some(_) => return Err("limit: not beside limits".to_owned()),
            None if limits.is_empty() => return Err("limit: there is neither limit nor limits".to_owned()),
            None if burst.is_some() || name.is_some() || window != Kind::default() => {
                return Err("limits: window, burst and name stand in each of them".to_owned());
            }
            None => {}
        }
        for (key, header) in [("cost_header", &cost_header), ("response_cost_header", &response_cost_header)] {
            if let Some(header) = header {
                rules::check_name(header).map_err(|why| format!("{key}: {header:?} {why}"))?;
            }
        }
        by.check_consumers(consumers)?;
        let own = |own: Own| Counted::new(&own.into_list(&limits), cost, headers);
        Ok(Self {
            partition: Partition::new(by, ipv6_prefix)?,
            everybody: Counted::new(&limits, cost, headers)?,
            own: consumers::Own::read(consumers, own)?,
            cost,
            cost_header,
            response_cost_header,
            refusal: Response::problem(
                StatusCode::TOO_MANY_REQUESTS,
                "Too Many Requests",
                "The limit of requests is reached; try again later.",
            ),
            too_dear: Response::problem(
                StatusCode::TOO_MANY_REQUESTS,
                "Too Many Requests",
                "The request costs more than the limit ever allows.",
            ),
            unavailable: Response::problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "Service Unavailable",
                "The limit cannot be counted now; try again soon.",
            )
            .with_header("retry-after", "1"),
        })
    }

    fn skips(&self) -> &[Hook] {
        if self.response_cost_header.is_some() { &[] } else { &[Hook::Response] }
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let key = self.partition.key(exchange);
        let cost = self.cost(exchange);
        let own = self.own.find(exchange);
        let counted = own.map_or(&self.everybody, |(_, own)| own);
        let decision = counted.take(&key, cost, |outcomes| self.decide(exchange, counted, cost, outcomes));
        let decision = decision.unwrap_or_else(|error| self.uncounted(&error));
        if self.response_cost_header.is_some() && decision == Decision::Proceed {
            Taken { cost, key, consumer: own.map(|(consumer, _)| consumer.to_owned()) }.keep(exchange);
        }
        decision
    }

    fn on_response(&self, exchange: &Exchange) -> Decision {
        let said = self.response_cost_header.as_ref().and_then(|header| exchange.response_headers().get(header));
        if let Some(cost) = said.and_then(|value| value.trim().parse::<u32>().ok())
            && let Ok(taken) = serde_json::from_slice::<Taken>(&exchange.state())
            && let Err(error) = self.take_more(&taken, cost.saturating_sub(taken.cost))
        {
            log::error("what a response took was not counted", &[("why", &error.to_string())]);
        }
        Decision::Proceed
    }
}

/// What a request took and of whom, kept until its response: by then other plugins may have changed what it was worked out
/// from.
#[derive(Serialize, Deserialize)]
#[serde(crate = "gatewright_sdk::serde")]
struct Taken {
    cost: u32,
    key: String,
    /// Whose own limit it was taken of; none: everybody's.
    consumer: Option<String>,
}

impl Taken {
    fn keep(&self, exchange: &Exchange) {
        if let Err(error) = exchange.set_state(json!(self).to_string().as_bytes()) {
            log::warn("what the response says that it took will not be counted", &[("why", &error.to_string())]);
        }
    }
}

impl RateLimit {
    fn cost(&self, exchange: &Exchange) -> u32 {
        let Some(header) = &self.cost_header else { return self.cost };
        let said = exchange.request_headers().get(header).and_then(|value| value.trim().parse().ok());
        said.filter(|cost| *cost > 0).unwrap_or(self.cost)
    }

    /// Takes the response's cost beyond what the request took; all that is left, if that is less.
    fn take_more(&self, taken: &Taken, mut more: u32) -> Result<(), LimitError> {
        let own = taken.consumer.as_ref().and_then(|consumer| self.own.get(consumer));
        let counted = own.unwrap_or(&self.everybody);
        // Others take at the same time, so what was left may be gone by then.
        for _ in 0..ROUNDS {
            if more == 0 {
                break;
            }
            more = counted.take(&taken.key, more, |outcomes| match outcomes.iter().all(|outcome| outcome.allowed) {
                true => 0,
                false => outcomes.iter().map(|outcome| outcome.remaining).min().unwrap_or(0).min(more),
            })?;
        }
        Ok(())
    }

    fn decide(&self, exchange: &Exchange, counted: &Counted, cost: u32, outcomes: &[Outcome]) -> Decision {
        // The client has to wait for the longest.
        let refused = outcomes.iter().filter(|outcome| !outcome.allowed).map(|outcome| outcome.retry_after).max();
        if let Some(retry_after) = refused {
            LIMITED.add(1, &[]);
            let refusal = match cost > counted.most {
                true => self.too_dear.clone(),
                false => {
                    let retry_after = fields::seconds(retry_after).max(1);
                    self.refusal.clone().with_header("retry-after", retry_after.to_string())
                }
            };
            return Decision::Respond(match &counted.fields {
                Some(fields) => refusal
                    .with_header(fields::POLICY, fields.policy.as_str())
                    .with_header(fields::LIMIT, fields.limit(outcomes)),
                None => refusal,
            });
        }
        if let Some(fields) = &counted.fields
            && let Err(error) = exchange.response_headers().append_all(&fields.block(outcomes))
        {
            log::warn("the response cannot tell the limit", &[("why", &error.to_string())]);
        }
        Decision::Proceed
    }

    fn uncounted(&self, error: &LimitError) -> Decision {
        log::error("a limit was not counted", &[("why", &error.to_string())]);
        Decision::Respond(self.unavailable.clone())
    }
}

#[cfg(test)]
mod tests;
