//! `quota` limits how many requests a caller may make in a day or a month.
//!
//! A quota is a fixed window on the calendar: it begins with the day or the month in the operator's time zone, and what
//! is unused at its end is lost. The gateway counts (the `rate-limit` capability), several quotas in one decision, so a
//! request that one of them refuses is counted by none. The response's headers are known in the request hook, and the
//! gateway keeps them until there is a response.

use std::time::{Duration, UNIX_EPOCH};

use gatewright_sdk::{
    Decision, Exchange, HeaderBlock, Metric, Plugin, Response, StatusCode, clock, config,
    consumers::Own,
    log,
    partition::{By, Partition},
    plugin,
    rate_limit::{self, LimitError, Outcome, Rule, Window},
    schemars::{JsonSchema, Schema, SchemaGenerator},
};

mod calendar;

use calendar::{Period, Zone};

/// Limits how much a caller may use in a day or a month. Requires at least one of `day` and `month`.
#[config]
#[derive(Debug)]
#[schemars(extend("anyOf" = [{ "required": ["day"] }, { "required": ["month"] }]))]
pub struct Config {
    /// The number of requests per day.
    #[schemars(range(min = 1))]
    day: Option<u32>,
    /// The number of requests per month.
    #[schemars(range(min = 1))]
    month: Option<u32>,
    /// Whether the own quota of a consumer (an object with `day`, `month` or both, under `quota` in its `limits`)
    /// replaces this one. Requires `"by": "identity"`.
    #[serde(default)]
    consumers: bool,
    /// Where days and months begin: `"Z"` (UTC; the default) or an offset from it, such as `"+02:00"`.
    #[serde(default)]
    zone: Zone,
    /// What is limited; requests with the same key share one quota: `"identity"` (a caller that an earlier plugin
    /// authenticated; the default), `"ip"` (a client's address), `"route"` (all requests of a route),
    /// `{ "header": NAME }` (requests with the same value), `cookie`, `query`, `path` (a parameter of the route's path)
    /// and `claim` likewise, or a list: requests that agree in all of its items. Without a value, the address counts.
    #[serde(default = "identity")]
    by: By,
    /// How much one request counts.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    cost: u32,
    /// How many leading bits of an IPv6 address count as one client. Most clients have a whole /64.
    #[serde(default = "a_site")]
    #[schemars(range(min = 32, max = 128))]
    ipv6_prefix: u8,
    /// Whether responses carry `RateLimit` and `RateLimit-Policy`.
    #[serde(default = "yes")]
    headers: bool,
}

const fn identity() -> By {
    By::IDENTITY
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

static EXHAUSTED: Metric = Metric::counter("exhausted", "Requests for which nothing was left.", &["period"]);

/// The quota of a consumer. Requires at least one of `day` and `month`.
#[config]
#[derive(Debug)]
#[schemars(extend("anyOf" = [{ "required": ["day"] }, { "required": ["month"] }]))]
pub struct OwnQuota {
    /// The number of requests per day.
    #[schemars(range(min = 1))]
    day: Option<u32>,
    /// The number of requests per month.
    #[schemars(range(min = 1))]
    month: Option<u32>,
}

/// The quotas of a caller.
#[derive(Debug)]
struct Counted {
    /// Each period with its number of requests.
    periods: Vec<(Period, u32)>,
    /// `RateLimit-Policy` for each.
    policy: String,
}

impl Counted {
    fn new(day: Option<u32>, month: Option<u32>, cost: u32) -> Result<Self, String> {
        let periods: Vec<(Period, u32)> =
            [(Period::Day, day), (Period::Month, month)].into_iter().filter_map(|(p, n)| Some((p, n?))).collect();
        if periods.is_empty() {
            return Err("at least one of day and month is needed".to_owned());
        }
        for (period, requests) in &periods {
            if *requests == 0 {
                return Err(format!("{}: at least 1", period.name()));
            }
            if !(1..=*requests).contains(&cost) {
                return Err(format!("cost: from 1 to what {} has, which is {requests}", period.name()));
            }
        }
        let policy = periods.iter().map(|(period, requests)| format!("\"{}\";q={requests}", period.name()));
        let policy = policy.collect::<Vec<_>>().join(", ");
        Ok(Self { periods, policy })
    }

    /// `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10): an item for each quota.
    fn told(&self, outcomes: &[Outcome]) -> String {
        let item = |((period, _), outcome): (&(Period, u32), &Outcome)| {
            format!("\"{}\";r={};t={}", period.name(), outcome.remaining, seconds(outcome.reset))
        };
        self.periods.iter().zip(outcomes).map(item).collect::<Vec<_>>().join(", ")
    }

    /// Both fields.
    fn fields(&self, outcomes: &[Outcome]) -> HeaderBlock {
        let mut fields = HeaderBlock::new();
        fields.push("ratelimit-policy", &self.policy);
        fields.push("ratelimit", &self.told(outcomes));
        fields
    }
}

/// The plugin.
#[derive(Debug)]
pub struct Quota {
    everybody: Counted,
    own: Own<Counted>,
    zone: Zone,
    partition: Partition,
    cost: u32,
    headers: bool,
    exhausted: Response,
    unavailable: Response,
}

#[plugin]
impl Plugin for Quota {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&EXHAUSTED];
    const WANTS: &'static [&'static str] = &["rate-limit", "clock"];
    const LIMIT: Option<fn(&mut SchemaGenerator) -> Schema> = Some(OwnQuota::json_schema);

    fn new(config: Config) -> Result<Self, String> {
        let Config { day, month, consumers, zone, by, cost, ipv6_prefix, headers } = config;
        by.check_consumers(consumers)?;
        let exhausted = "The quota is used up; see Retry-After for when it begins anew.";
        Ok(Self {
            everybody: Counted::new(day, month, cost)?,
            own: Own::read(consumers, |OwnQuota { day, month }| Counted::new(day, month, cost))?,
            partition: Partition::new(by, ipv6_prefix)?,
            exhausted: Response::problem(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests", exhausted),
            unavailable: Response::problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "Service Unavailable",
                "The quota cannot be counted now; try again soon.",
            )
            .with_header("retry-after", "1"),
            zone,
            cost,
            headers,
        })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let counted = self.own.of(exchange).unwrap_or(&self.everybody);
        match self.take(exchange, counted) {
            Ok(outcomes) => self.decide(exchange, counted, &outcomes),
            Err(error) => {
                log::error("a quota was not counted", &[("why", &error.to_string())]);
                Decision::Respond(self.unavailable.clone())
            }
        }
    }
}

impl Quota {
    fn take(&self, exchange: &Exchange, counted: &Counted) -> Result<Vec<Outcome>, LimitError> {
        let now = clock::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let rule = |(period, requests): &(Period, u32)| {
            let (begins, ends) = period.around(now, self.zone);
            Rule::FixedWindow(Window { requests: *requests, length: ends.saturating_sub(begins), anchor: begins })
        };
        let rules: Vec<Rule> = counted.periods.iter().map(rule).collect();
        rate_limit::take_all(&self.partition.key(exchange), &rules, self.cost)
    }

    fn decide(&self, exchange: &Exchange, counted: &Counted, outcomes: &[Outcome]) -> Decision {
        let refused = counted.periods.iter().zip(outcomes).filter(|(_, outcome)| !outcome.allowed);
        // The client has to wait for the longest.
        let Some(((period, _), outcome)) = refused.max_by_key(|(_, outcome)| outcome.retry_after) else {
            if self.headers
                && let Err(error) = exchange.response_headers().append_all(&counted.fields(outcomes))
            {
                log::warn("the response cannot tell the quota", &[("why", &error.to_string())]);
            }
            return Decision::Proceed;
        };
        EXHAUSTED.add(1, &[period.name()]);
        let refusal =
            self.exhausted.clone().with_header("retry-after", seconds(outcome.retry_after).max(1).to_string());
        Decision::Respond(match self.headers {
            true => refusal
                .with_header("ratelimit-policy", counted.policy.as_str())
                .with_header("ratelimit", counted.told(outcomes)),
            false => refusal,
        })
    }
}

/// Rounded up: a client that waits this long has waited long enough.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests;
