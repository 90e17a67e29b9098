//! Settings of the process rather than of requests: `admin`, `access_log`, `secrets`, `compile_cache`, `shutdown`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::address::ListenAddress;
use super::units::Duration;

/// The admin API: metrics, health, and changes to the configuration and plugins. Whoever can reach it controls the
/// gateway, so it should listen on an address that only the operator can reach.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// The address it listens on.
    pub address: ListenAddress,

    /// The name of the secret that clients must send as `Authorization: Bearer`. Required unless the address is a
    /// loopback address. Default: none.
    pub token: Option<String>,
}

impl Default for Admin {
    fn default() -> Admin {
        Admin { address: ListenAddress::loopback(9901), token: None }
    }
}

/// The destination of the access log, which has one JSON object per line and request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum AccessLog {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// No access log.
    Off,
    /// A file to append to, which is reopened on SIGHUP. Relative to the directory of gateway.json.
    File(PathBuf),
}

/// The source of a secret: an environment variable or a file. Read when the configuration is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Secret {
    /// The name of an environment variable.
    Env(String),
    /// The path of a file; a trailing newline is ignored. Relative to the directory of gateway.json.
    File(PathBuf),
}

/// Compiled plugins on disk.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompileCache {
    /// A directory that only the gateway's user can write to; created if missing. Relative to the directory of
    /// gateway.json.
    pub directory: PathBuf,
}

/// How the gateway shuts down.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// How long new connections are still accepted after SIGTERM, while `/readyz` tells load balancers to stop sending
    /// requests. A second SIGTERM ends the delay.
    pub delay: Duration,

    /// How long requests in flight may continue after `delay`, before their connections are closed.
    pub drain_timeout: Duration,
}

impl Default for Shutdown {
    fn default() -> Shutdown {
        Shutdown { delay: Duration::seconds(0), drain_timeout: Duration::seconds(30) }
    }
}
