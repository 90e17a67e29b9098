//! The configuration as the operator writes it.

use std::{collections::BTreeMap, time::Duration};

use gatewright_sdk::{
    bearer::Settings,
    config, consumers,
    credential::Location,
    rules,
    serde::Serialize,
    serde_json::{Value, json},
    units::Span,
};

/// Signs users in with an OpenID Connect provider (authorization code flow with PKCE), and keeps their session in an
/// encrypted cookie. The provider's endpoints are discovered, unless `authorization_endpoint`, `token_endpoint` and
/// `jwks` are set, all three.
#[config]
#[schemars(extend("dependentRequired" = {
    "authorization_endpoint": ["token_endpoint", "jwks"],
    "token_endpoint": ["authorization_endpoint", "jwks"],
    "jwks": ["authorization_endpoint", "token_endpoint"],
}))]
pub struct Config {
    /// The name of the provider's upstream, for the gateway's own requests. It must be granted.
    #[schemars(length(min = 1), extend("format" = "gateway-upstream"))]
    pub(crate) upstream: String,
    /// The provider's exact `issuer`, as in its discovery document.
    #[schemars(length(min = 1))]
    pub(crate) issuer: String,
    /// Where browsers sign in. Default: as discovered.
    #[schemars(regex(pattern = "^https?://"))]
    pub(crate) authorization_endpoint: Option<String>,
    /// The path of its token endpoint, at the upstream. Default: as discovered; it must then be at the host of the
    /// issuer.
    #[schemars(regex(pattern = "^/"))]
    pub(crate) token_endpoint: Option<String>,
    /// The URL of its keys. The host may be the name of an upstream; otherwise it is connected to directly. Default: as
    /// discovered; they must then be at the host of the issuer, and are fetched through the upstream.
    #[schemars(length(min = 1))]
    pub(crate) jwks: Option<String>,
    /// Where browsers also sign out of the provider. Default: as discovered, if it has one; none if the endpoints are
    /// set here.
    #[schemars(regex(pattern = "^https?://"))]
    pub(crate) end_session_endpoint: Option<String>,
    /// How ID tokens are signed.
    #[serde(default = "rs256")]
    #[schemars(length(min = 1))]
    pub(crate) algorithms: Vec<String>,
    /// The gateway's client ID at the provider.
    #[schemars(length(min = 1))]
    pub(crate) client_id: String,
    /// The name of a secret, granted to this plugin, that contains the client secret. Required unless `client_auth` is
    /// `"none"`.
    #[schemars(length(min = 1))]
    pub(crate) client_secret: Option<String>,
    /// How the client authenticates: `"basic"`, `"post"` or `"none"` (a public client, still protected by PKCE).
    #[serde(default)]
    pub(crate) client_auth: ClientAuth,
    /// Where the provider sends browsers back to, as registered there: a URL of the gateway whose path this plugin
    /// answers itself, so the route must match it.
    #[schemars(regex(pattern = "^https?://[^/?#]+/[^?#]*$"))]
    pub(crate) redirect_uri: String,
    /// The requested scopes. `offline_access` yields a refresh token with most providers.
    #[serde(default = "openid")]
    #[schemars(length(min = 1))]
    pub(crate) scopes: Vec<String>,
    /// Additional parameters of the authorization request, such as `{ "prompt": "consent" }`.
    #[serde(default)]
    pub(crate) authorization_parameters: BTreeMap<String, String>,
    /// The names of granted secrets, at least 32 bytes each, that encrypt cookies: the first encrypts, all of them
    /// decrypt. To rotate, put a new key at the front.
    #[schemars(length(min = 1))]
    pub(crate) keys: Vec<String>,
    /// The cookie's name; with `secure` it gets the prefix `__Host-`.
    #[serde(default = "gateway_session")]
    #[schemars(regex(pattern = "^[A-Za-z0-9_.-]{1,64}$"))]
    pub(crate) cookie: String,
    /// Whether browsers send the cookie over TLS only. Turn it off only for development without TLS.
    #[serde(default = "yes")]
    pub(crate) secure: bool,
    /// The time after which users have to sign in again, whatever the provider says; at most 30 days.
    #[serde(default = "eight_hours")]
    pub(crate) session_ttl: Span,
    /// How long signing in may take; at most 1 hour.
    #[serde(default = "ten_minutes")]
    pub(crate) login_ttl: Span,
    /// How long before the provider's tokens expire new ones are fetched, if there is a refresh token.
    #[serde(default = "a_minute")]
    pub(crate) refresh_before: Span,
    /// The tolerated clock difference, at most 5 minutes.
    #[serde(default = "nothing")]
    pub(crate) leeway: Span,
    /// How long a response of the provider may take, at most `limits.callout_timeout` of the plugin.
    #[serde(default = "five_seconds")]
    pub(crate) timeout: Span,
    /// What happens to requests without a session: `"login"` sends browsers that open a page to the provider and
    /// answers everything else with 401; `"deny"` answers all with 401.
    #[serde(default)]
    pub(crate) unauthenticated: Unauthenticated,
    /// The path that signs out. This plugin answers it itself, so the route must match it.
    #[serde(default = "logout")]
    #[schemars(regex(pattern = "^/"))]
    pub(crate) logout_path: String,
    /// The path that browsers are sent to after signing out.
    #[serde(default = "root")]
    #[schemars(regex(pattern = "^/"))]
    pub(crate) after_logout: String,
    /// Which claims of the ID token are kept in the cookie, besides `sub` and `iss`. A cookie has room for about 3 KiB.
    #[serde(default = "usual_claims")]
    pub(crate) claims: Vec<String>,
    /// The claim that identifies the caller: a name, or a JSON pointer that begins with `/`.
    #[serde(default = "sub")]
    pub(crate) subject: String,
    /// Claims that are required, each with its value or a list of values of which one is enough.
    #[serde(default)]
    pub(crate) required_claims: BTreeMap<String, Value>,
    /// Whether the user must be a consumer, who then is the caller: one with a matching claim under `oidc` in its
    /// credentials.
    #[serde(default)]
    pub(crate) consumers: bool,
    /// Request headers to set, each with the claim it is set from. If the claim is missing, the header is removed, even
    /// if the client sent it.
    #[serde(default)]
    pub(crate) claims_to_headers: BTreeMap<String, String>,
    /// Whether the upstream gets the access token, as `Authorization: Bearer`. It is then kept in the cookie too.
    #[serde(default)]
    pub(crate) forward_access_token: bool,
}

/// How the gateway authenticates itself.
#[config]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) enum ClientAuth {
    #[default]
    Basic,
    Post,
    None,
}

/// What happens to requests without a session.
#[config]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) enum Unauthenticated {
    #[default]
    Login,
    Deny,
}

impl Config {
    /// # Errors
    /// What is wrong, by its key.
    pub(crate) fn check(&self) -> Result<(), String> {
        let written = [&self.authorization_endpoint, &self.token_endpoint, &self.jwks].into_iter().flatten().count();
        if written != 0 && written != 3 {
            return Err("authorization_endpoint, token_endpoint and jwks: all of them are written, or none".to_owned());
        }
        for (key, path) in [
            ("token_endpoint", self.token_endpoint.as_deref().unwrap_or("/")),
            ("logout_path", &self.logout_path),
            ("after_logout", &self.after_logout),
        ] {
            if !rules::is_path(path) {
                return Err(format!("{key}: {path:?} is not a path such as \"/token\""));
            }
        }
        let endpoints = [
            ("authorization_endpoint", self.authorization_endpoint.as_ref()),
            ("end_session_endpoint", self.end_session_endpoint.as_ref()),
        ];
        for (key, url) in endpoints {
            if let Some(url) = url.filter(|url| origin_and_path(url).is_none() || !rules::is_sendable(url)) {
                return Err(format!("{key}: {url:?} is not an http or https address"));
            }
        }
        match origin_and_path(&self.redirect_uri) {
            Some((_, path)) if path != "/" && !path.contains('?') && rules::is_sendable(path) => {}
            _ => return Err(format!("redirect_uri: {:?} is not an address with a path of its own", self.redirect_uri)),
        }
        if self.secure && !self.redirect_uri.starts_with("https://") {
            return Err("redirect_uri: it is not https, so no browser would send the cookie; \"secure\": false is for development".to_owned());
        }
        if !self.scopes.iter().any(|scope| scope == "openid")
            || self.scopes.iter().any(|scope| scope.contains(' ') || !rules::is_sendable(scope))
        {
            return Err("scopes: they are words, and \"openid\" is one of them".to_owned());
        }
        if let Some(name) = self.authorization_parameters.keys().find(|name| OWN.contains(&name.as_str())) {
            return Err(format!("authorization_parameters: {name:?} is one of the protocol's own"));
        }
        if self.keys.is_empty() {
            return Err("keys: at least one is needed".to_owned());
        }
        if self.client_secret.is_none() != (self.client_auth == ClientAuth::None) {
            return Err("client_secret: it is needed unless client_auth is \"none\", and only then".to_owned());
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if self.cookie.is_empty() || !self.cookie.bytes().all(is_name) {
            return Err(format!("cookie: {:?} is not a cookie's name", self.cookie));
        }
        for (key, time, most) in [
            ("session_ttl", self.session_ttl.0, 30 * 24 * 3600),
            ("login_ttl", self.login_ttl.0, 3600),
            ("refresh_before", self.refresh_before.0, 3600),
            ("leeway", self.leeway.0, 300),
        ] {
            if time > Duration::from_secs(most) {
                return Err(format!("{key}: at most {most}s"));
            }
        }
        if self.session_ttl.0.is_zero() || self.login_ttl.0.is_zero() || self.timeout.0.is_zero() {
            return Err("session_ttl, login_ttl and timeout have to be more than nothing".to_owned());
        }
        Ok(())
    }

    /// The key set's definition, as the contract describes it at `jwt.declare`.
    pub(crate) fn key_set(&self) -> String {
        let leeway = self.leeway.0.as_secs();
        let (key, place) = match &self.jwks {
            Some(jwks) => ("jwks", jwks),
            None => ("discovery", &self.upstream),
        };
        json!({
            "algorithms": self.algorithms, key: place, "issuer": self.issuer, "audience": self.client_id, "leeway": leeway,
        })
        .to_string()
    }

    /// The name of a cookie as browsers see it: with this prefix, it is from exactly this host and over TLS (RFC
    /// 6265bis).
    pub(crate) fn cookie_name(&self, suffix: &str) -> String {
        format!("{}{}{suffix}", if self.secure { "__Host-" } else { "" }, self.cookie)
    }

    /// The settings for callers, who are identified by the session cookie.
    ///
    /// # Errors
    /// A consumer's credential is invalid.
    pub(crate) fn settings(&self) -> Result<Settings, String> {
        Ok(Settings {
            from: Location::Cookie(self.cookie_name("")),
            forward_credential: false,
            optional: false,
            subject: self.subject.clone(),
            scopes: Vec::new(),
            required_claims: self.required_claims.clone(),
            claims_to_headers: self.claims_to_headers.clone(),
            realm: "session".to_owned(),
            owners: self.consumers.then(consumers::credentials).transpose()?,
        })
    }
}

/// `https://shop.test/a` in two parts.
pub(crate) fn origin_and_path(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let at = url.len() - rest.len() + rest.find('/').unwrap_or(rest.len());
    let (origin, path) = url.split_at_checked(at)?;
    (!rest.starts_with('/') && !rest.is_empty()).then_some((origin, if path.is_empty() { "/" } else { path }))
}

/// The parameters of every authorization request.
const OWN: [&str; 9] = [
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
];

fn rs256() -> Vec<String> {
    vec!["RS256".to_owned()]
}

fn openid() -> Vec<String> {
    vec!["openid".to_owned()]
}

fn gateway_session() -> String {
    "gateway_session".to_owned()
}

fn usual_claims() -> Vec<String> {
    ["name", "email", "email_verified", "preferred_username", "groups"].map(str::to_owned).to_vec()
}

const fn yes() -> bool {
    true
}

const fn nothing() -> Span {
    Span(Duration::ZERO)
}

const fn five_seconds() -> Span {
    Span(Duration::from_secs(5))
}

const fn a_minute() -> Span {
    Span(Duration::from_secs(60))
}

const fn ten_minutes() -> Span {
    Span(Duration::from_secs(600))
}

const fn eight_hours() -> Span {
    Span(Duration::from_secs(8 * 3600))
}

fn logout() -> String {
    "/oidc/logout".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

fn sub() -> String {
    "sub".to_owned()
}
