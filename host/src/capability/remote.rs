//! The same counts, entries and places kept in Redis or Valkey, so that several gateways share them.
//!
//! Every decision is one script on the server (`EVALSHA`), on the server's own clock, so gateways need not agree on the
//! time. Each core has its own connection ([`link`]), on its own runtime: no core waits for another, and a core's
//! queries are pipelined without a queue. A decision waits for a bounded time; when the server is known to be
//! unavailable it does not wait at all. What happens then is the operator's choice ([`OnError`]): the caller gets
//! [`Away`] and acts on it.
//!
//! The server holds no key of a request: keys are SHA-256 of the plugin's configuration and the key. All of them
//! expire, so unused ones disappear.
//!
//! Rejected: the client's own connection manager. It makes every decision wait for its reconnect, and notices a hanging
//! server only by the timeout of each.

mod ahead;
mod entries;
mod limits;
mod link;
mod places;
mod script;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;

use crate::tls::Connector;
use link::Links;
pub use link::{Count, Notice};
pub use places::Lease;

/// One server, for all cores and all plugins that were granted it.
pub struct Remote {
    settings: Settings,
    links: Links,
}

/// The server's address, and how to query it.
#[derive(Clone, PartialEq)]
pub struct Settings {
    /// The store's name in the configuration.
    pub name: Arc<str>,
    pub host: String,
    pub port: u16,
    pub database: u32,
    /// TLS with the server. `None`: the connection is not encrypted.
    pub tls: Option<Arc<Connector>>,
    pub username: Option<String>,
    pub password: Option<String>,
    /// The longest wait for one decision.
    pub timeout: Duration,
    /// The longest wait for a connection; only the first decision of a core may wait for one.
    pub connect_timeout: Duration,
    /// Limit for simultaneous decisions of one core.
    pub max_in_flight: usize,
    pub on_error: OnError,
    /// What all keys begin with.
    pub prefix: String,
    /// How many are taken at once from a limit and used up here. With 1 each one is taken from the server.
    pub ahead: u32,
    /// A place of a concurrency limit is free again if its gateway has not renewed it for this time.
    pub slot_ttl: Duration,
    /// The lifetime of an entry without an expiry of its own.
    pub entry_ttl: Duration,
}

/// What happens to a decision that the server did not make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// This gateway decides alone, by its own counts.
    #[default]
    Local,
    /// Nothing is limited.
    Allow,
    /// Everything is refused.
    Deny,
}

/// Why the server did not decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Away {
    /// There is no connection.
    Down,
    /// Too many decisions are in progress, so this one would wait too long.
    Busy,
    /// It did not answer in time. It may still have counted.
    TimedOut,
    /// It answered with an error, in its own words.
    Failed(String),
}

/// The data of one plugin configuration in the server.
pub struct Share {
    remote: Arc<Remote>,
    /// The beginning of keys: the prefix and the plugin's name.
    prefix: String,
    /// Digest of the plugin's configuration: another configuration has separate limits.
    scope: [u8; 32],
    stocks: ahead::Stocks,
}

impl Remote {
    pub fn new(settings: Settings, notice: Notice) -> Arc<Remote> {
        Arc::new(Remote { links: Links::new(&settings, notice), settings })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How often something happened, over all cores.
    pub fn count(&self, what: Count) -> u64 {
        self.links.count(what)
    }

    /// Connections that are up.
    pub fn connections(&self) -> usize {
        self.links.up()
    }
}

impl Share {
    /// The data of the plugin `name` with this configuration. Gateways with the same name and configuration share it.
    pub fn new(remote: Arc<Remote>, name: &str, config: &str) -> Share {
        let prefix = format!("{}{name}:", remote.settings.prefix);
        let scope = sha256(&[config.as_bytes()]);
        Share { remote, prefix, scope, stocks: ahead::Stocks::default() }
    }

    pub fn on_error(&self) -> OnError {
        self.remote.settings.on_error
    }

    /// Counts a decision that was made without the server.
    pub fn fell_back(&self) {
        self.remote.links.add(Count::FellBack);
    }

    /// A key that belongs to this configuration. The part in braces selects the slot of a cluster.
    fn own_key(&self, key: &str, kind: impl fmt::Display) -> String {
        format!("{}{{{}}}:{kind}", self.prefix, hex(&sha256(&[&self.scope, key.as_bytes()])))
    }
}

/// 128 bits are enough to distinguish keys, and half as long.
fn hex(digest: &[u8; 32]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    digest.iter().take(16).flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut sum = [0; 32];
    sum.copy_from_slice(context.finish().as_ref());
    sum
}

impl OnError {
    /// The word in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            OnError::Local => "local",
            OnError::Allow => "allow",
            OnError::Deny => "deny",
        }
    }
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Away::Down => f.write_str("there is no connection"),
            Away::Busy => f.write_str("too many decisions are under way"),
            Away::TimedOut => f.write_str("it did not answer in time"),
            Away::Failed(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for Away {}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the password.
        write!(f, "{}:{}/{}", self.host, self.port, self.database)
    }
}

#[cfg(test)]
mod tests;
