//! One limit, as it is written and as it is counted.

use std::time::Duration;

use gatewright_sdk::{
    config,
    rate_limit::{Quota, Rule, Window},
    schemars, serde,
    units::Rate,
};

/// One of several limits.
#[config]
#[derive(Debug)]
pub struct Limit {
    /// The number of requests per period, such as `"100/min"`.
    pub(crate) limit: Rate,
    /// How requests are counted: `"bucket"` (the default), `"fixed"` or `"sliding"`.
    #[serde(default)]
    pub(crate) window: Kind,
    /// The capacity of a bucket: how many may come at once. Default: the count of `limit`.
    #[schemars(range(min = 1))]
    pub(crate) burst: Option<u32>,
    /// The policy's name in response headers.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_.-]{1,64}$"))]
    pub(crate) name: Option<String>,
}

/// The limit of a consumer: a number of requests per period, or several limits in the plugin's own form. A number is
/// counted and named as the plugin's limit is, if that has one only.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "gatewright_sdk::serde", untagged)]
#[schemars(crate = "gatewright_sdk::schemars")]
pub enum Own {
    One(Rate),
    Several(Vec<Limit>),
}

impl Own {
    pub(crate) fn into_list(self, general: &[Limit]) -> Vec<Limit> {
        match self {
            Self::One(limit) => {
                let (window, name) = match general {
                    [only] => (only.window, only.name.clone()),
                    _ => (Kind::default(), None),
                };
                vec![Limit { limit, window, burst: None, name }]
            }
            Self::Several(limits) => limits,
        }
    }
}

/// How requests are counted.
#[config]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A token bucket: capacity is restored evenly.
    #[default]
    Bucket,
    /// Every window starts with the full number. Windows are aligned to the clock: those of a minute start with the
    /// minute.
    Fixed,
    /// The previous window still counts, with decreasing weight, so that twice the limit can never come around a
    /// boundary.
    Sliding,
}

impl Limit {
    /// Whether a request of this cost can ever pass.
    pub(crate) fn check(&self, cost: u32) -> Result<(), String> {
        if self.burst == Some(0) {
            return Err("burst: at least 1".to_owned());
        }
        if self.burst.is_some() && self.window != Kind::Bucket {
            return Err("burst: a window has none; it is for a bucket".to_owned());
        }
        if !(1..=self.at_once()).contains(&cost) {
            return Err(format!("cost: from 1 to what may come at once, which is {}", self.at_once()));
        }
        Ok(())
    }

    pub(crate) fn rule(&self) -> Rule {
        let Rate { count, per } = self.limit;
        let window = Window { requests: count, length: per, anchor: Duration::ZERO };
        match self.window {
            Kind::Bucket => Rule::TokenBucket(Quota { requests: count, per, burst: self.at_once() }),
            Kind::Fixed => Rule::FixedWindow(window),
            Kind::Sliding => Rule::SlidingWindow(window),
        }
    }

    pub(crate) fn at_once(&self) -> u32 {
        self.burst.unwrap_or(self.limit.count)
    }

    /// The time in which the full capacity is restored.
    pub(crate) fn length(&self) -> Duration {
        // A bucket of `burst` is full again after the time in which the rate restores that many.
        let length = self.limit.per.as_millis() * u128::from(self.at_once()) / u128::from(self.limit.count.max(1));
        Duration::from_millis(u64::try_from(length).unwrap_or(u64::MAX))
    }
}
