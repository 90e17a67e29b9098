//! Settings of the process rather than of requests: `admin`, `access_log`, `secrets`, `compile_cache`, `shutdown`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::address::ListenAddress;
use super::units::Duration;

/// The admin API: metrics, health, and changing the configuration and plugins. Whoever reaches it rules the gateway, so
/// its address should be one that only the operator reaches.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where it listens.
    pub address: ListenAddress,

    /// The name of a secret that clients have to send as `Authorization: Bearer`. Required where the address is not a
    /// loopback address. Default: none.
    pub token: Option<String>,
}

impl Default for Admin {
    fn default() -> Admin {
        Admin { address: ListenAddress::loopback(9901), token: None }
    }
}

/// Where the access log goes: one JSON object in one line for every request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum AccessLog {
    /// The standard output.
    #[default]
    Stdout,
    /// The standard error.
    Stderr,
    /// Nowhere.
    Off,
    /// The end of a file, which is opened again on SIGHUP. A relative path begins at the directory of gateway.json.
    File(PathBuf),
}

/// Where a secret is: an environment variable or a file. Read when the configuration is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Secret {
    /// The name of an environment variable.
    Env(String),
    /// The path of a file, of which a newline at the end does not count. A relative one begins at the directory of
    /// gateway.json.
    File(PathBuf),
}

/// Compiled plugins on disk.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompileCache {
    /// A directory that only the gateway's user can write; made where it is missing. A relative path begins at the
    /// directory of gateway.json.
    pub directory: PathBuf,
}

/// How the gateway ends.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// How long connections are still accepted after SIGTERM, while `/readyz` tells load balancers to send no more. A second
    /// SIGTERM ends it.
    pub delay: Duration,

    /// How long requests under way may go on after SIGTERM, before their connections are cut.
    pub drain_timeout: Duration,
}

impl Default for Shutdown {
    fn default() -> Shutdown {
        Shutdown { delay: Duration::seconds(0), drain_timeout: Duration::seconds(30) }
    }
}
