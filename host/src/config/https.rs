//! `https_redirect` and `hsts`: how listeners make clients use TLS.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Deserializer, de};
use serde_json::json;

use super::forms::{or_short, two_forms};
use super::rewrite::RedirectStatus;
use super::units::Duration;

/// Redirects every request to the same URL over https, except those below `/.well-known/acme-challenge/`, by which an
/// authority verifies who owns a name (RFC 8555, section 8.3): `true`, or an object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, remote = "Self")]
#[schemars(rename = "HttpsRedirect", transform = or_true)]
pub struct HttpsRedirect {
    /// The https port for clients. Default: the port of the first listener with TLS, else 443.
    #[schemars(range(min = 1))]
    pub port: Option<u16>,

    /// 301, 302, 303, 307 or 308. 307 and 308 keep the method and the body. Default: 308.
    pub status: RedirectStatus,
}
two_forms!(HttpsRedirect, short: True);

impl Default for HttpsRedirect {
    fn default() -> HttpsRedirect {
        HttpsRedirect { port: None, status: RedirectStatus::PermanentRedirect }
    }
}

/// Sends `Strict-Transport-Security` (RFC 6797) with every response, so that browsers use only https for this host:
/// `true`, or an object. It replaces the header of upstreams.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Hsts", transform = or_true)]
pub struct Hsts {
    /// How long browsers remember it after the last response, in whole seconds. Default: "365d".
    pub max_age: Duration,

    /// Whether it also applies to every name below the host's. Default: false.
    pub include_subdomains: bool,

    /// Whether browsers may include the host in their built-in list; requires `include_subdomains` and a year. Default:
    /// false.
    pub preload: bool,

    /// Revokes an earlier policy: `max-age=0`. Browsers learn of it on their next visit over TLS. Default: false.
    pub withdraw: bool,
}
two_forms!(Hsts, short: True);

impl Default for Hsts {
    fn default() -> Hsts {
        Hsts {
            max_age: Duration::seconds(365 * 24 * 60 * 60),
            include_subdomains: false,
            preload: false,
            withdraw: false,
        }
    }
}

/// The word `true`: all defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct True;

impl<'de> Deserialize<'de> for True {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<True, D::Error> {
        match bool::deserialize(deserializer)? {
            true => Ok(True),
            false => Err(de::Error::custom("leave it out where it is not wanted")),
        }
    }
}

impl From<True> for HttpsRedirect {
    fn from(True: True) -> HttpsRedirect {
        HttpsRedirect::default()
    }
}

impl From<True> for Hsts {
    fn from(True: True) -> Hsts {
        Hsts::default()
    }
}

fn or_true(schema: &mut Schema) {
    or_short(schema, json!({ "type": "boolean", "const": true }));
}
