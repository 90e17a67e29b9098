//! `plugins`: the plugins that need more than a name.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::registry::OciReference;
use super::text::{Name, Written, written_as_text};
use super::units::{Duration, Size};

/// Where a plugin comes from and what it may do. Every key has a default, so only differences need to be written.
#[derive(Clone, Debug, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Plugin {
    /// "file:geo.wasm" (a component; relative to the directory of gateway.json),
    /// "oci://ghcr.io/acme/geo:1.4@sha256:..." (from a registry; with a tag alone, the digest is taken from the lock
    /// file that `gatewright plugin lock` writes), or "stock:jwt" (included in the gateway). Default: the stock plugin
    /// of the same name.
    pub source: Option<Source>,

    /// What happens to an exchange if the plugin traps, takes too long or exceeds a limit.
    pub on_error: OnError,

    /// Whether exchanges share instances.
    pub isolation: Isolation,

    /// What one hook call may use.
    pub limits: PluginLimits,

    /// What the plugin may access beyond its exchange. Default: nothing.
    pub grants: Grants,

    /// When a plugin that keeps failing is taken out, and how it comes back.
    pub breaker: Breaker,
}

/// The source of a plugin's code.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A path, relative to the directory of gateway.json.
    File(PathBuf),
    /// From a registry.
    Oci(OciReference),
    /// Included in the gateway.
    Stock(String),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Source, String> {
        match text.split_once(':') {
            Some(("file", "")) => Err("the path is missing".to_owned()),
            Some(("file", path)) if path.contains('\0') => Err("a path has no NUL in it".to_owned()),
            Some(("file", path)) => Ok(Source::File(PathBuf::from(path))),
            Some(("oci", rest)) => {
                let rest = rest.strip_prefix("//").ok_or("it does not begin with \"oci://\"")?;
                rest.parse().map(Source::Oci)
            }
            Some(("stock", name)) => name.parse::<Name>().map(|name| Source::Stock(name.as_str().to_owned())),
            _ => Err("it begins with none of \"file:\", \"oci://\" and \"stock:\"".to_owned()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => write!(f, "file:{}", path.display()),
            Source::Oci(reference) => write!(f, "oci://{reference}"),
            Source::Stock(name) => write!(f, "stock:{name}"),
        }
    }
}

impl Written for Source {
    const FORMAT: &'static str = "gateway-plugin-source";
    const NOUN: &'static str = "the source of a plugin";
    const HINT: &'static str = "\"file:\" and a path, \"oci://\" and a reference, or \"stock:\" and a name: \"file:geo.wasm\", \
                                \"oci://ghcr.io/acme/geo:1.4\", \"stock:jwt\"";
    const PATTERN: Option<&'static str> = Some("^(file|oci|stock):.");
    const EXAMPLES: &'static [&'static str] = &["file:geo.wasm", "oci://ghcr.io/acme/geo:1.4", "stock:jwt"];
}
written_as_text!(Source);

/// What happens to an exchange in which a plugin fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// The client gets 500 (503 while the breaker is open): whatever the plugin protects stays protected.
    #[default]
    Deny,
    /// The exchange continues as if the plugin were not in the chain.
    Skip,
}

/// Whether exchanges share instances of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// An instance serves one hook call after another, for any exchange. The fastest.
    #[default]
    Shared,
    /// Each exchange has its own instance, which ends with it: no byte of one request can appear in another.
    Request,
}

/// What one hook call of a plugin may use. Exceeding it ends the call, and `on_error` decides.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PluginLimits {
    /// CPU time of one hook, "1ms" to "60s". Waiting for callouts does not count, nor does time in which the machine
    /// ran something else; a hook that loops ends soon after it.
    pub time: Duration,

    /// How long the plugin may take to describe and configure itself when it is loaded. At most "5m".
    pub configure_time: Duration,

    /// Linear memory of one instance, "64KiB" to "1GiB".
    pub memory: Size,

    /// Calls from one hook into the gateway.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub host_calls: u32,

    /// Lines that one hook may log; more are dropped and counted.
    #[schemars(range(min = 0, max = 100_000))]
    pub log_lines: u32,

    /// HTTP calls to upstreams in one hook.
    #[schemars(range(min = 0, max = 1000))]
    pub callouts: u32,

    /// The longest wait for one callout, whatever the plugin asks for. At most "5m".
    pub callout_timeout: Duration,

    /// The largest body that is buffered for the plugin, if it asks for a whole body or holds chunks back. A larger one
    /// is answered with 413 (request) or 502 (response). At most "1GiB".
    pub body: Size,

    /// Bytes in one call or answer of the plugin. From "1KiB" to "1GiB".
    pub transfer: Size,
}

impl Default for PluginLimits {
    fn default() -> PluginLimits {
        PluginLimits {
            time: Duration::milliseconds(10),
            configure_time: Duration::seconds(5),
            memory: Size::mebibytes(32),
            host_calls: 10_000,
            log_lines: 100,
            callouts: 8,
            callout_timeout: Duration::seconds(10),
            body: Size::mebibytes(1),
            transfer: Size::mebibytes(2),
        }
    }
}

/// What a plugin may access beyond its exchange. Anything not listed does not exist for it.
#[derive(Clone, Debug, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Grants {
    /// Upstreams it may call, by name.
    #[schemars(extend("uniqueItems" = true))]
    pub upstreams: Vec<String>,

    /// Secrets it may read, by name.
    #[schemars(extend("uniqueItems" = true))]
    pub secrets: Vec<String>,

    /// The name of the store that keeps its limits, slots and entries, so that several gateways share them. Default:
    /// this gateway's memory.
    pub store: Option<String>,
}

/// The circuit breaker that takes a failing plugin out. While it is open, `on_error` decides at once, without calling
/// the plugin.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// Failures in a row that open the breaker; 0 never opens it.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub failures: u32,

    /// How long the breaker stays open. Then one call is let through: if it succeeds, the plugin is back, else the
    /// breaker stays open for twice as long.
    pub open_time: Duration,

    /// The longest time that the breaker stays open.
    pub max_open_time: Duration,
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker { failures: 5, open_time: Duration::seconds(1), max_open_time: Duration::seconds(60) }
    }
}
