//! `https_redirect` and `hsts`: how listeners make clients use TLS.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Deserializer, de};
use serde_json::json;

use super::forms::{or_short, two_forms};
use super::rewrite::RedirectStatus;
use super::units::Duration;

/// Sends every request to the same address over https, but those below `/.well-known/acme-challenge/`, which prove to
/// an authority who owns a name (RFC 8555, section 8.3): `true`, or an object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, remote = "Self")]
#[schemars(rename = "HttpsRedirect", transform = or_true)]
pub struct HttpsRedirect {
    /// Where clients find https. Default: the port of the first listener with TLS, else 443.
    #[schemars(range(min = 1))]
    pub port: Option<u16>,

    /// 301, 302, 303, 307 or 308. 308 and 307 keep the method and the body. Default: 308.
    pub status: RedirectStatus,
}
two_forms!(HttpsRedirect, short: True);

impl Default for HttpsRedirect {
    fn default() -> HttpsRedirect {
        HttpsRedirect { port: None, status: RedirectStatus::PermanentRedirect }
    }
}

/// Tells browsers with every response that this host is to be asked over https alone (RFC 6797): `true`, or an object.
/// It replaces what upstreams say of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Hsts", transform = or_true)]
pub struct Hsts {
    /// How long they hold to it after the last response, in whole seconds. Default: "365d".
    pub max_age: Duration,

    /// Whether it holds for every name below the host's, too. Default: false.
    pub include_subdomains: bool,

    /// Whether browsers may ship with the host on their list; it needs `include_subdomains` and a year. Default: false.
    pub preload: bool,

    /// Takes back what was said before: `max-age=0`. Browsers hear of it when they come over TLS once more. Default:
    /// false.
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

/// The word `true`, for all defaults.
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
