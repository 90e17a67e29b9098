//! Plugins in OCI registries: the only room that talks to registries.
//!
//! ```text
//! component ─manifest→ Manifest ─client→ registry ──fetch (manifest, signatures, component)──→ store
//! store ─manifest, signature→ component        what a snapshot loads: nothing is asked of a registry for it
//! ```
//!
//! An artifact is a manifest that names one layer, in the layout of the CNCF (config
//! `application/vnd.wasm.config.v0+json`, layer `application/wasm`); older media types of the layer are read as well. A
//! plugin is identified by the digest of its manifest, from which all else follows: the manifest contains the layer's
//! digest, and a signature signs the manifest's digest. So no registry, mirror, proxy or disk on the way has to be
//! trusted, and [`Store::component`], the only way to a plugin's bytes, verifies everything each time.
//!
//! Nothing here decides what happens to a request. A failed fetch is an error of the change that asked for it.
//!
//! Rejected: an existing registry client crate (each brings a second HTTP stack and twice as many crates as the gateway
//! has), and keeping connections (a fetch is a handful of requests, once per version of a plugin).

mod auth;
mod client;
mod fetch;
mod lock;
mod manifest;
mod prune;
mod push;
mod signature;
mod store;
mod wire;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use auth::Credentials;
pub use client::Client;
pub use lock::Lock;
pub use manifest::{Manifest, Target};
pub use prune::Pruned;
pub use signature::{Keys, SigningKey, read_keys};
pub use store::{Absent, Store};

use aws_lc_rs::digest;

use crate::config::{OciDigest, OciReference, RegistryHost};
use crate::tls::Trust;

/// How to talk to registries.
pub struct Settings {
    /// Hosts that are used without TLS.
    pub plain_http: Vec<RegistryHost>,
    /// Trusted authorities for all other hosts.
    pub trust: Arc<Trust>,
    pub credentials: Credentials,
    /// Time limit for each connection, TLS included.
    pub connect_timeout: Duration,
    /// Time limit for everything that one call asks of a registry.
    pub timeout: Duration,
    /// The largest component.
    pub largest_bytes: usize,
}

/// A plugin that must be in the store.
#[derive(Clone)]
pub struct Wanted {
    pub reference: OciReference,
    /// The digest of its manifest. It takes precedence over the reference.
    pub digest: OciDigest,
    /// One of these keys must have signed it; `None` if it needs no signature.
    pub keys: Option<Arc<Keys>>,
}

/// Why a registry did not do what it was asked for. The text is for the operator, and contains no secret.
#[derive(Debug)]
pub enum Error {
    /// There is no connection, or it broke off.
    Unreachable {
        host: String,
        reason: String,
    },
    /// The time limit has passed.
    Timeout {
        host: String,
        time: Duration,
    },
    /// The registry refuses the request.
    Refused {
        host: String,
        status: u16,
        reason: String,
    },
    /// A response that no registry would send.
    Strange {
        host: String,
        what: String,
    },
    TooLarge {
        what: String,
        limit: usize,
    },
    /// Other bytes than those requested.
    Mismatch {
        what: String,
        wanted: OciDigest,
        came: OciDigest,
    },
    /// The artifact is not a plugin.
    NoPlugin(String),
    /// There is no signature by an accepted key.
    Unsigned(String),
    /// An error of the store's disk.
    Store(PathBuf, std::io::Error),
}

impl Error {
    /// Whether the same request may succeed in a moment.
    fn may_pass(&self) -> bool {
        match self {
            Error::Unreachable { .. } => true,
            Error::Refused { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unreachable { host, reason } => write!(f, "the registry {host} cannot be reached: {reason}"),
            Error::Timeout { host, time } => write!(f, "the registry {host} did not answer in full within {time:?}"),
            Error::Refused { host, status, reason } => write!(f, "the registry {host} answered {status}: {reason}"),
            Error::Strange { host, what } => write!(f, "{host} answered with {what}, which no registry does"),
            Error::TooLarge { what, limit } => write!(f, "{what} is larger than {limit} bytes, which are accepted"),
            Error::Mismatch { what, wanted, came } => {
                write!(f, "{what} is not what its digest says: {wanted} was asked for, {came} came")
            }
            Error::NoPlugin(reason) => write!(f, "the artifact is no plugin: {reason}"),
            Error::Unsigned(reason) => write!(f, "it is not signed as \"registries\" demands: {reason}"),
            Error::Store(path, error) => write!(f, "{} cannot be written: {error}", path.display()),
        }
    }
}

impl std::error::Error for Error {}

/// The digest of bytes.
pub fn digest_of(bytes: &[u8]) -> OciDigest {
    named(&digest::digest(&digest::SHA256, bytes))
}

fn named(digest: &digest::Digest) -> OciDigest {
    use fmt::Write;
    let text = digest.as_ref().iter().fold(String::from("sha256:"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    // It has the form of a digest by construction.
    text.parse().unwrap_or_else(|error: String| unreachable!("{error}"))
}

/// The largest manifest: those of plugins have a few hundred bytes.
const MANIFEST_BYTES: usize = 1 << 20;
