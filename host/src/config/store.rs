//! `stores`: servers in which several gateways share counts.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{Written, quoted, written_as_text};
use super::tls::UpstreamTls;
use super::units::Duration;

/// A Redis or Valkey server. A plugin that is granted it keeps its limits, slots and entries there, so that all
/// gateways with the same plugin and the same configuration count together.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// The address of the server: "redis://HOST:PORT/DATABASE", or "rediss://" for TLS. Port and database may be left
    /// out; they are 6379 and 0.
    pub redis: RedisAddress,

    /// Trusted authorities and the client certificate, for "rediss://". Default: the system's authorities and
    /// `trusted_authorities`.
    #[serde(default)]
    pub tls: Option<UpstreamTls>,

    /// The user to log in as. Default: the server's default user.
    #[serde(default)]
    pub username: Option<String>,

    /// The name of the secret with the password. Default: no password.
    #[serde(default)]
    pub password: Option<String>,

    /// How long a request may wait for one decision, "1ms" to "5s".
    #[serde(default = "timeout")]
    pub timeout: Duration,

    /// How long connecting may take, "1ms" to "30s". Only a core's first request may wait for it.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Duration,

    /// What happens if the server does not decide in time.
    #[serde(default)]
    pub on_error: OnStoreError,

    /// The prefix of all keys in the server.
    #[serde(default = "prefix")]
    #[schemars(length(max = 64), regex(pattern = r"^[!-z|~]*$"))]
    pub prefix: String,

    /// How many requests are taken from a limit at once, at most a quarter of what it has left, and let through within
    /// a second without asking again. The unused rest is given back with the next query: fewer than the limit may pass,
    /// never more. A refusal is remembered for up to a second. 1 asks for each request.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub take_ahead: u32,

    /// How long a slot of a `concurrency` limit stays taken after the gateway that took it has gone, "1s" to "1h".
    #[serde(default = "slot_ttl")]
    pub slot_ttl: Duration,

    /// The lifetime of shared-store entries for which the plugin sets none.
    #[serde(default = "entry_ttl")]
    pub entry_ttl: Duration,

    /// Concurrent decisions of one core. Further ones fail, and `on_error` decides.
    #[serde(default = "max_in_flight")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_in_flight: u32,
}

fn timeout() -> Duration {
    Duration::milliseconds(20)
}

fn connect_timeout() -> Duration {
    Duration::seconds(1)
}

fn prefix() -> String {
    "gatewright:".to_owned()
}

fn one() -> u32 {
    1
}

fn slot_ttl() -> Duration {
    Duration::seconds(30)
}

fn entry_ttl() -> Duration {
    Duration::seconds(7 * 24 * 60 * 60)
}

fn max_in_flight() -> u32 {
    1000
}

/// What happens if the server does not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnStoreError {
    /// Each gateway counts on its own, starting from zero: while the server is unavailable, each lets through as much
    /// as the limit allows.
    #[default]
    Local,
    /// Nothing is limited.
    Allow,
    /// Everything is refused.
    Deny,
}

/// The address of a Redis server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RedisAddress {
    /// Whether it uses TLS.
    pub tls: bool,
    pub host: String,
    pub port: u16,
    pub database: u32,
}

impl FromStr for RedisAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<RedisAddress, String> {
        let (tls, rest) = match text.split_once("://") {
            Some(("redis" | "valkey", rest)) => (false, rest),
            Some(("rediss" | "valkeys", rest)) => (true, rest),
            _ => return Err("it does not begin with \"redis://\" or \"rediss://\"".to_owned()),
        };
        if rest.contains('@') {
            return Err("the login does not belong here; use \"username\", and \"password\" with a secret".to_owned());
        }
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let number = |database: &str| match database {
            "" => Some(0),
            database => database.parse().ok().filter(|number| *number <= 65_535),
        };
        let database = number(database).ok_or_else(|| format!("{} is not a database's number", quoted(database)))?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let port = port.parse().ok().filter(|port| *port > 0);
                (host, port.ok_or_else(|| "the port is not one of 1 to 65535".to_owned())?)
            }
            _ => (authority, 6379),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = |host: &str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        match bare {
            Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_ok() => {}
            None if !host.is_empty() && is_host(host) => {}
            _ => return Err(format!("{} is not a host", quoted(host))),
        }
        Ok(RedisAddress { tls, host: bare.unwrap_or(host).to_owned(), port, database })
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RedisAddress { tls, host, port, database } = self;
        let scheme = if *tls { "rediss" } else { "redis" };
        match host.contains(':') {
            true => write!(f, "{scheme}://[{host}]:{port}/{database}"),
            false => write!(f, "{scheme}://{host}:{port}/{database}"),
        }
    }
}

impl Written for RedisAddress {
    const FORMAT: &'static str = "gateway-redis-address";
    const NOUN: &'static str = "the address of a Redis server";
    const HINT: &'static str =
        "\"redis://HOST:PORT/DATABASE\", or \"rediss://\" for TLS, of which port and database may be left out";
    const PATTERN: Option<&'static str> = Some("^(redis|valkey)s?://.");
    const EXAMPLES: &'static [&'static str] = &["redis://127.0.0.1:6379/0", "rediss://limits.internal"];
}
written_as_text!(RedisAddress);
