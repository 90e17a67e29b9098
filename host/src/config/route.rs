//! `routes`: which requests, through which plugins, to which upstream.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::cache::RouteCache;
use super::delivery::{Concurrency, Retries, RouteTimeouts};
use super::forms::{keyed_by_header_name, one_or_many, or_one_alone, or_string, or_text, two_forms};
use super::grpc::GrpcMatch;
use super::mirror::Mirror;
use super::pattern::{HostPattern, PathPattern, Regex};
use super::rewrite::{Redirect, Rewrite};
use super::target::Target;
use super::text::{Name, Written, is_token, quoted, written_as_text};
use super::units::Size;
use super::versions::Versions;

/// Which requests go through which plugins to which upstream. A request takes the most specific matching route, not the
/// first: an exact host before `*.` and no host; then an exact path, a template, the longest prefix, a regular
/// expression, every path; then a condition on the method, the number of conditions on headers and on the query, and
/// finally the order here.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Its unique name in logs, metrics and `explain`. Default: none.
    #[serde(default)]
    pub name: Option<Name>,

    /// The requests that take this route: an object whose conditions must all hold, or a list of which one must match.
    /// `{}` matches every request.
    #[serde(rename = "match", deserialize_with = "one_or_many")]
    #[schemars(transform = or_one_alone, length(min = 1, max = 100))]
    pub matches: Vec<Match>,

    /// The chain, in order: each plugin is its name, or an object with the name as its only key and the configuration
    /// as the value. Responses pass through it in reverse. At most 64. The last may be the name of a service that is a
    /// middleware.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub plugins: Vec<PluginUse>,

    /// Where requests go: the name of an upstream, or a list of them with weights. It may be left out if a plugin
    /// answers every request; a request that no plugin answers gets 500.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(transform = or_one_alone, length(min = 1, max = 100))]
    pub to: Vec<Target>,

    /// Redirects the client, instead of `to`. Plugins run first and may answer or refuse.
    #[serde(default)]
    pub redirect: Option<Redirect>,

    /// Changes the path and host of requests to the upstream. Default: none.
    #[serde(default)]
    pub rewrite: Option<Rewrite>,

    /// The versions of an API with several. Default: none.
    #[serde(default)]
    pub versions: Option<Versions>,

    /// Upstreams that get copies of the requests, and whose responses are discarded: a name, an object, or a list of
    /// these. Default: none.
    #[serde(rename = "mirror", default, deserialize_with = "one_or_many")]
    #[schemars(transform = or_one_alone, length(min = 1, max = 8))]
    pub mirrors: Vec<Mirror>,

    /// Overrides the limits of the whole gateway.
    #[serde(default)]
    pub limits: RouteLimits,

    /// How long a request may take. Default: only the upstream's own timeouts apply.
    #[serde(default)]
    pub timeouts: RouteTimeouts,

    /// When a request is retried. Default: only with another endpoint, if nothing could be sent to the first.
    #[serde(default)]
    pub retries: Option<Retries>,

    /// Caches responses. Default: every request goes to the upstream.
    #[serde(default)]
    pub cache: Option<RouteCache>,

    /// The protocols that a request may upgrade its connection to (`Upgrade` in HTTP/1.1, extended CONNECT in HTTP/2):
    /// tokens such as "websocket". A request for any other continues as plain HTTP. Default: ["websocket"]; [] allows
    /// none.
    #[serde(default = "UpgradeProtocol::websocket")]
    #[schemars(length(max = 16), extend("uniqueItems" = true))]
    pub upgrades: Vec<UpgradeProtocol>,
}

impl Route {
    /// The upstreams that requests are sent to.
    pub fn upstreams(&self) -> impl Iterator<Item = &str> {
        let of_versions = self.versions.iter().flat_map(|versions| versions.list.values().flat_map(|one| &one.to));
        self.to.iter().chain(of_versions).filter_map(|target| target.upstream.as_deref())
    }
}

/// Conditions on a request, which must all hold. A condition that is left out always holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// "api.example.com", "*.example.com" (every name below it), or a list of these. The port of the request is
    /// ignored.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(transform = or_one_alone, length(min = 1, max = 1000))]
    pub host: Vec<HostPattern>,

    /// "/health" (exactly), "/orders/*" (`/orders` and everything below), "/users/{id}/posts" (a parameter matches one
    /// segment), or an object with a `regex`.
    pub path: Option<PathMatch>,

    /// gRPC calls, instead of `path` and `methods`: an object with `service`, `method`, both or neither.
    pub grpc: Option<GrpcMatch>,

    /// One of these methods, in capitals.
    #[schemars(length(min = 1, max = 50), extend("uniqueItems" = true))]
    pub methods: Vec<Method>,

    /// Header fields, by name: the exact value of one of the field's lines, or an object with `regex` or `present`.
    #[schemars(transform = keyed_by_header_name)]
    pub headers: BTreeMap<HeaderName, ValueMatch>,

    /// Query parameters, by name: the first value, percent-decoded, in the same forms.
    pub query: BTreeMap<String, ValueMatch>,
}

/// A path to match: a pattern, or an object with a regular expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields, remote = "Self")]
#[schemars(rename = "PathMatch", transform = or_text::<PathPattern>)]
pub enum PathMatch {
    #[serde(skip)]
    Pattern(PathPattern),
    /// A regular expression for the whole path.
    Regex(Regex),
}
two_forms!(PathMatch, short: PathPattern);

impl From<PathPattern> for PathMatch {
    fn from(pattern: PathPattern) -> PathMatch {
        PathMatch::Pattern(pattern)
    }
}

/// A value to match: the exact string, or an object with a condition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields, remote = "Self")]
#[schemars(rename = "ValueMatch", transform = or_string)]
pub enum ValueMatch {
    #[serde(skip)]
    Exact(String),
    /// A regular expression for the whole value.
    Regex(Regex),
    /// Whether it is present, with any value.
    Present(bool),
}
two_forms!(ValueMatch, short: String);

impl From<String> for ValueMatch {
    fn from(text: String) -> ValueMatch {
        ValueMatch::Exact(text)
    }
}

/// A plugin in a chain. Names are looked up in `plugins` first, then among the stock plugins, then in `services`.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginUse {
    pub name: String,
    /// As written, to be checked against the plugin's own schema; an empty object if there is only the name.
    pub config: Value,
    /// Whether it is in the long form, with the name as the key of the configuration.
    pub is_long: bool,
}

impl PluginUse {
    /// The pointer to the configuration, for the plugin at `index` of the chain of the route at `route`: such as
    /// `/routes/2/plugins/0/jwt`.
    pub fn pointer(&self, route: usize, index: usize) -> String {
        let entry = format!("/routes/{route}/plugins/{index}");
        if self.is_long { super::document::child(&entry, &self.name) } else { entry }
    }
}

impl<'de> Deserialize<'de> for PluginUse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PluginUse, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = PluginUse;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a plugin, or an object with one key")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<PluginUse, E> {
                Ok(PluginUse { name: name.to_owned(), config: Value::Object(Map::new()), is_long: false })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PluginUse, A::Error> {
                let (name, config) = map.next_entry()?.ok_or_else(|| A::Error::custom("the plugin is missing"))?;
                if map.next_key::<String>()?.is_some() {
                    return Err(A::Error::custom("there is one plugin in an object"));
                }
                Ok(PluginUse { name, config, is_long: true })
            }
        }

        deserializer.deserialize_any(Form)
    }
}

impl JsonSchema for PluginUse {
    fn schema_name() -> Cow<'static, str> {
        PLUGIN_USE.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let name = json!({ "format": Name::FORMAT });
        schemars::json_schema!({
            "description": "A plugin in a chain: its name, or an object with one key, the name, and its configuration as the value.",
            "anyOf": [
                { "type": "string", "format": Name::FORMAT },
                {
                    "description": "An object with one key, the name of the plugin, and its configuration as the value.",
                    "type": "object", "minProperties": 1, "maxProperties": 1, "propertyNames": name, "properties": {},
                },
            ],
        })
    }
}

/// The name of the definition that [`PluginUse`] has in the schema.
pub(super) const PLUGIN_USE: &str = "PluginUse";

/// Overrides `limits` on one route.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RouteLimits {
    /// The largest request body. Default: `limits.request_body`.
    pub request_body: Option<Size>,

    /// Concurrent requests of this route, over all cores: a number, or an object with a queue. Further ones are
    /// answered with 503 and `Retry-After`, before any plugin runs. Default: no limit.
    pub max_concurrent: Option<Concurrency>,
}

/// A method, in capitals: case matters (RFC 9110, section 9.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Method(String);

impl Method {
    pub fn get() -> Method {
        Method("GET".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Method, String> {
        if !is_token(text) || text.len() > 32 {
            return Err("it is not a method name of at most 32 characters".to_owned());
        }
        if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return Err(format!("did you mean {}?", quoted(&text.to_ascii_uppercase())));
        }
        Ok(Method(text.to_owned()))
    }
}

impl Written for Method {
    const FORMAT: &'static str = "gateway-method";
    const NOUN: &'static str = "a method";
    const HINT: &'static str = "its name in capitals: \"GET\", \"POST\"";
    const PATTERN: Option<&'static str> = Some("^[^a-z\\s]+$");
    const EXAMPLES: &'static [&'static str] = &["GET", "POST", "DELETE"];
}
written_as_text!(Method);

/// A protocol that a connection can be upgraded to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpgradeProtocol(String);

impl UpgradeProtocol {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn websocket() -> Vec<UpgradeProtocol> {
        vec![UpgradeProtocol("websocket".to_owned())]
    }
}

impl FromStr for UpgradeProtocol {
    type Err = String;

    fn from_str(text: &str) -> Result<UpgradeProtocol, String> {
        let (name, version) = text.split_once('/').map_or((text, None), |(name, version)| (name, Some(version)));
        if !is_token(name) || !version.is_none_or(is_token) || text.len() > 64 {
            return Err("it is not a protocol name of at most 64 characters".to_owned());
        }
        let name = name.to_ascii_lowercase();
        if matches!(name.as_str(), "h2" | "h2c" | "http" | "tls") {
            // Requests inside would bypass every route and every plugin.
            return Err("HTTP inside a tunnel would go past routes and plugins, so it is never switched to".to_owned());
        }
        Ok(UpgradeProtocol(text.to_ascii_lowercase()))
    }
}

impl Written for UpgradeProtocol {
    const FORMAT: &'static str = "gateway-upgrade-protocol";
    const NOUN: &'static str = "a protocol to switch to";
    const HINT: &'static str = "a token of `Upgrade`: \"websocket\"";
    const PATTERN: Option<&'static str> = Some("^[!#$%&'*+.^_`|~0-9A-Za-z/-]+$");
    const EXAMPLES: &'static [&'static str] = &["websocket"];
}
written_as_text!(UpgradeProtocol);

/// The name of a header field, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct HeaderName(String);

impl HeaderName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HeaderName {
    type Err = String;

    fn from_str(text: &str) -> Result<HeaderName, String> {
        if text.eq_ignore_ascii_case("host") {
            return Err("the host is matched by \"host\"".to_owned());
        }
        if !is_token(text) || text.len() > 256 {
            return Err("it has another character in it, or is longer than 256".to_owned());
        }
        Ok(HeaderName(text.to_ascii_lowercase()))
    }
}

impl Written for HeaderName {
    const FORMAT: &'static str = "gateway-header-name";
    const NOUN: &'static str = "the name of a header field";
    const HINT: &'static str = "letters, digits and marks such as \"-\", without the colon: \"x-tenant\", \"accept\"";
    const PATTERN: Option<&'static str> = Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$");
    const EXAMPLES: &'static [&'static str] = &["x-tenant", "accept"];
}
written_as_text!(HeaderName);
