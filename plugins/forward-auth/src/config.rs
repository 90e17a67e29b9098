//! The configuration as the operator writes it.

use std::collections::BTreeMap;

use gatewright_sdk::{config, http::Method, rules, serde::Serialize, units::Span};

/// Asks an upstream whether a request may pass, and lets it pass if the response is 2xx.
#[config]
pub struct Config {
    /// The name of the upstream that is asked. It must be granted: `"grants": { "upstreams": [NAME] }`.
    #[schemars(length(min = 1), extend("format" = "gateway-upstream"))]
    pub(crate) upstream: String,
    /// The path of the auth request, with its query if there is one.
    #[serde(default = "root")]
    #[schemars(regex(pattern = "^/"))]
    pub(crate) path: String,
    /// The method of the auth request. It never has a body; the method of the original request is in
    /// `X-Forwarded-Method`.
    #[serde(default = "get")]
    pub(crate) method: String,
    /// Headers of the request that are sent with the auth request.
    #[serde(default = "credentials")]
    pub(crate) request_headers: Vec<String>,
    /// Headers of a 2xx response that are set on the request. They are always removed from the client's request first,
    /// so that no client can set them itself.
    #[serde(default)]
    pub(crate) copy_headers: Vec<String>,
    /// Headers of a 2xx response that are added to the response to the client, such as `set-cookie`.
    #[serde(default)]
    pub(crate) response_headers: Vec<String>,
    /// Statuses from 400 to 499 that are passed to the client.
    #[serde(default = "unauthorized_forbidden")]
    pub(crate) refusals: Vec<u16>,
    /// Whether redirects (301, 302, 303, 307, 308) are passed to the client.
    #[serde(default = "yes")]
    pub(crate) redirects: bool,
    /// Headers that are passed to the client with a refusal or a redirect.
    #[serde(default = "challenges")]
    pub(crate) refusal_headers: Vec<String>,
    /// What happens if there is no response, or none that decides: `"deny"` answers with 502, 503 or 504; `"allow"`
    /// lets the request pass without an identity and without the copied headers.
    #[serde(default)]
    pub(crate) on_error: OnError,
    /// How long a response may take, at most `limits.callout_timeout` of the plugin.
    #[serde(default = "one_second")]
    pub(crate) timeout: Span,
    /// How a 2xx response identifies the caller. Without it, the request gets no identity.
    pub(crate) identity: Option<Identity>,
}

/// What happens if no decision can be had.
#[config]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) enum OnError {
    #[default]
    Deny,
    Allow,
}

/// Headers of the response that identify the caller.
#[config]
pub struct Identity {
    /// The header with the caller's name. A response without it counts as none.
    #[schemars(length(min = 1))]
    pub(crate) subject: String,
    /// The header with the caller's groups, separated by commas: the claim `groups`.
    pub(crate) groups: Option<String>,
    /// Claims by name, each with the header that contains it.
    #[serde(default)]
    pub(crate) claims: BTreeMap<String, String>,
}

impl Config {
    /// # Errors
    /// What is wrong, by its key.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !rules::is_path(&self.path) {
            return Err(format!("path: {:?} is not a path such as \"/verify\"", self.path));
        }
        match Method::from_bytes(self.method.as_bytes()) {
            Ok(method) if method != Method::CONNECT => {}
            _ => return Err(format!("method: {:?} is not a method that can be asked with", self.method)),
        }
        if let Some(status) = self.refusals.iter().find(|status| !(400..500).contains(*status)) {
            return Err(format!("refusals: {status} is not from 400 to 499"));
        }
        if self.timeout.0.is_zero() {
            return Err("timeout: it has to be more than nothing".to_owned());
        }
        for (key, names) in [
            ("request_headers", &self.request_headers),
            ("copy_headers", &self.copy_headers),
            ("response_headers", &self.response_headers),
            ("refusal_headers", &self.refusal_headers),
        ] {
            for name in names {
                rules::check_name(name).map_err(|why| format!("{key}: {name:?} {why}"))?;
            }
        }
        if let Some(name) = self.request_headers.iter().find(|name| is_told(name)) {
            return Err(format!("request_headers: {name:?} is what the gateway tells itself of the request"));
        }
        match &self.identity {
            Some(identity) => identity.check().map_err(|why| format!("identity.{why}")),
            None => Ok(()),
        }
    }
}

impl Identity {
    fn check(&self) -> Result<(), String> {
        let keys = [("subject", Some(&self.subject)), ("groups", self.groups.as_ref())];
        let claims = self.claims.values().map(|name| ("claims", Some(name)));
        for (key, name) in keys.into_iter().chain(claims) {
            if let Some(name) = name {
                rules::check_name(name).map_err(|why| format!("{key}: {name:?} {why}"))?;
            }
        }
        Ok(())
    }
}

/// What every auth request tells about the original request; see [`crate::question`].
pub(crate) const TOLD: [&str; 8] = [
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-method",
    "x-forwarded-proto",
    "x-forwarded-uri",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
];

/// Those of [`TOLD`] that the gateway itself does not write onto requests, so a client could.
pub(crate) const CLAIMS: [&str; 5] =
    ["x-forwarded-method", "x-forwarded-uri", "x-original-method", "x-original-uri", "x-original-url"];

fn is_told(name: &str) -> bool {
    TOLD.iter().any(|told| told.eq_ignore_ascii_case(name))
}

fn root() -> String {
    "/".to_owned()
}

fn get() -> String {
    "GET".to_owned()
}

fn credentials() -> Vec<String> {
    ["authorization", "cookie"].map(str::to_owned).to_vec()
}

fn unauthorized_forbidden() -> Vec<u16> {
    vec![401, 403]
}

fn challenges() -> Vec<String> {
    ["www-authenticate", "location", "set-cookie", "cache-control", "retry-after"].map(str::to_owned).to_vec()
}

const fn yes() -> bool {
    true
}

const fn one_second() -> Span {
    Span(std::time::Duration::from_secs(1))
}
