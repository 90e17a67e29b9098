//! `cors` lets web pages of other origins use an API (the CORS protocol of the Fetch standard, section 3.2).
//!
//! It answers preflights itself and adds headers to other responses that say who may read them. An upstream's own CORS
//! headers are removed: browsers reject duplicates, and only the operator's rules count. Everything is known in the
//! request hook, so there is no response hook.

use gatewright_sdk::{
    Decision, Exchange, HeaderBlock, Headers, Hook, Method, Metric, MutateError, Plugin, Response, StatusCode, config,
    http::HeaderName, log, plugin, units::Span,
};

mod origins;

use origins::Origins;

/// Lets web pages from other origins use the API.
#[config]
#[derive(Debug)]
pub struct Config {
    /// The allowed origins: `"https://app.example.com"`, `"https://*.example.com"` (every name below, at any depth),
    /// `"https://*"` (every host), `"*"` (all), `"null"` (pages from files and in sandboxes). With a port unless it is
    /// the scheme's default.
    #[schemars(length(min = 1, max = 1000))]
    origins: Vec<String>,
    /// The allowed methods, or `["*"]`.
    #[serde(default = "Config::usual_methods")]
    #[schemars(length(min = 1, max = 50))]
    methods: Vec<String>,
    /// Request headers that pages may send, besides those that every page may (`Accept`, `Accept-Language`,
    /// `Content-Language`, plain `Content-Type`), or `["*"]`.
    #[serde(default)]
    #[schemars(length(max = 200))]
    headers: Vec<String>,
    /// Response headers that pages may read, besides those that every page may, or `["*"]`.
    #[serde(default)]
    #[schemars(length(max = 200))]
    expose: Vec<String>,
    /// Whether browsers send cookies, client certificates and passwords. Cannot be combined with the origins `"*"` and
    /// `"null"`.
    #[serde(default)]
    credentials: bool,
    /// How long browsers may cache the response to a preflight, in whole seconds; at most `"1d"`.
    #[serde(default = "Config::usual_max_age")]
    max_age: Span,
    /// Whether pages from the public internet may reach this API in a private network.
    #[serde(default)]
    private_network: bool,
}

impl Config {
    fn usual_methods() -> Vec<String> {
        ["GET", "HEAD", "POST"].map(str::to_owned).into()
    }

    const fn usual_max_age() -> Span {
        Span(std::time::Duration::from_secs(5))
    }
}

static PREFLIGHTS: Metric = Metric::counter("preflights", "Preflights that were answered.", &["result"]);

/// The plugin.
#[derive(Debug)]
pub struct Cors {
    origins: Origins,
    credentials: bool,
    methods: Names,
    headers: Names,
    private_network: bool,
    max_age: String,
    expose: Option<String>,
    /// For responses whose origin makes no difference, or is not allowed.
    fixed: HeaderBlock,
    refusal: Response,
}

/// Names to list in a header field.
#[derive(Debug)]
enum Names {
    /// Any name.
    Any,
    /// The text for the field; `None` if the list is empty.
    Listed(Option<String>),
}

#[plugin]
impl Plugin for Cors {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&PREFLIGHTS];

    fn new(config: Config) -> Result<Self, String> {
        let origins = Origins::parse(&config.origins).map_err(|why| format!("origins{why}"))?;
        if config.credentials && origins.is_any() {
            return Err("origins: \"*\" together with credentials would let every web page act as its visitor; \
                        write the origins, or \"https://*\" where that is what is meant"
                .to_owned());
        }
        if config.credentials && origins.has_null() {
            return Err(
                "origins: \"null\" together with credentials would let everybody in: any page can be in a sandbox"
                    .to_owned(),
            );
        }
        let seconds = config.max_age.0.as_secs();
        if seconds > LONGEST_MAX_AGE_SECONDS || config.max_age.0.subsec_nanos() > 0 {
            return Err("max_age: it is whole seconds, and at most a day".to_owned());
        }
        for method in &config.methods {
            if method != "*" && (!is_token(method) || *method != method.to_ascii_uppercase()) {
                return Err(format!("methods: {method:?} is not a method in capitals"));
            }
        }
        let expose = match Names::of("expose", config.expose)? {
            // With credentials a browser takes the star for a name, so nothing would be exposed.
            Names::Any if config.credentials => {
                return Err("expose: \"*\" means nothing together with credentials; list the fields".to_owned());
            }
            Names::Any => Some("*".to_owned()),
            Names::Listed(listed) => listed,
        };
        let mut fixed = HeaderBlock::new();
        if origins.is_any() {
            fixed.push(ALLOW_ORIGIN, "*");
            expose.iter().for_each(|expose| fixed.push(EXPOSE, expose));
        }
        Ok(Self {
            origins,
            credentials: config.credentials,
            methods: if config.methods.iter().any(|method| method == "*") {
                Names::Any
            } else {
                Names::Listed(Some(config.methods.join(", ")))
            },
            headers: Names::of("headers", config.headers)?,
            private_network: config.private_network,
            max_age: seconds.to_string(),
            expose,
            fixed,
            refusal: Response::problem(StatusCode::FORBIDDEN, "Forbidden", "This origin is not let in.")
                .with_header("vary", PREFLIGHT_VARY),
        })
    }

    fn skips(&self) -> &[Hook] {
        &[Hook::Response]
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let headers = exchange.request_headers();
        let [origin, method] = headers.select(["origin", REQUEST_METHOD]);
        // Two lines are not an origin: a browser sends one, and readers could disagree about which one counts.
        let allowed =
            origin.as_deref().filter(|origin| self.origins.contain(origin) && headers.values("origin").len() == 1);
        if let (Some(method), Some(_)) = (method, &origin)
            && exchange.method() == Method::OPTIONS
        {
            return Decision::Respond(self.preflight(allowed, &method, headers));
        }
        if let Err(error) = self.mark(allowed, exchange.response_headers()) {
            log::warn("a response says nothing of who may read it", &[("why", &error.to_string())]);
        }
        Decision::Proceed
    }
}

impl Cors {
    fn preflight(&self, allowed: Option<&str>, method: &str, asked: Headers<'_>) -> Response {
        let Some(origin) = allowed else {
            PREFLIGHTS.add(1, &["refused"]);
            return self.refusal.clone();
        };
        PREFLIGHTS.add(1, &["allowed"]);
        let [wanted, private] = asked.select([REQUEST_HEADERS, REQUEST_PRIVATE_NETWORK]);
        let mut response = Response::new(StatusCode::NO_CONTENT);
        let methods = self.methods.answer(self.credentials, Some(method));
        // The star does not cover Authorization (the Fetch standard, section 4.8).
        let names = self.headers.answer(true, wanted.as_deref());
        let private = self.private_network && private.as_deref() == Some("true");
        for (name, value) in [
            (ALLOW_ORIGIN, Some(if self.origins.is_any() { "*" } else { origin })),
            (ALLOW_METHODS, methods.as_deref()),
            (ALLOW_HEADERS, names.as_deref()),
            (ALLOW_CREDENTIALS, self.credentials.then_some("true")),
            (MAX_AGE, Some(&self.max_age)),
            // Not read by the CORS protocol in this response, but some tools look for it.
            (EXPOSE, self.expose.as_deref()),
            (ALLOW_PRIVATE_NETWORK, private.then_some("true")),
            ("vary", Some(PREFLIGHT_VARY)),
        ] {
            response = value.into_iter().fold(response, |response, value| response.with_header(name, value));
        }
        response
    }

    /// Adds to the response's headers who may read it.
    fn mark(&self, allowed: Option<&str>, headers: Headers<'_>) -> Result<(), MutateError> {
        for name in [ALLOW_ORIGIN, ALLOW_CREDENTIALS, EXPOSE] {
            headers.remove(name)?;
        }
        if self.origins.is_any() {
            return headers.set_all(&self.fixed);
        }
        // Also if no origin was sent: a cache must not give that response to a page.
        headers.append("vary", "Origin")?;
        let Some(origin) = allowed else { return Ok(()) };
        headers.set(ALLOW_ORIGIN, origin)?;
        if self.credentials {
            headers.set(ALLOW_CREDENTIALS, "true")?;
        }
        match &self.expose {
            Some(expose) => headers.set(EXPOSE, expose),
            None => Ok(()),
        }
    }
}

impl Names {
    /// Names of header fields.
    fn of(key: &str, names: Vec<String>) -> Result<Self, String> {
        if names.iter().any(|name| name == "*") {
            return Ok(Self::Any);
        }
        let bad = names.iter().find(|name| HeaderName::from_bytes(name.as_bytes()).is_err());
        match bad {
            Some(name) => Err(format!("{key}: {name:?} is not the name of a header field")),
            None => Ok(Self::Listed((!names.is_empty()).then(|| names.join(", ").to_ascii_lowercase()))),
        }
    }

    /// The field's value for a client that asks for these names. Where a star does not stand for any name, as with
    /// credentials, the requested names are echoed, if they are names.
    fn answer(&self, are_echoed: bool, asked: Option<&str>) -> Option<String> {
        match self {
            Self::Listed(listed) => listed.clone(),
            Self::Any if !are_echoed => Some("*".to_owned()),
            Self::Any => asked.filter(|asked| are_tokens(asked)).map(str::to_owned),
        }
    }
}

/// Whether these are tokens, separated by commas, and not too many.
fn are_tokens(list: &str) -> bool {
    list.len() <= LONGEST_LIST_BYTES && list.split(',').all(|token| is_token(token.trim_matches([' ', '\t'])))
}

/// Whether this is a token (RFC 9110, section 5.6.2), which methods and names of fields are.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

const REQUEST_METHOD: &str = "access-control-request-method";
const REQUEST_HEADERS: &str = "access-control-request-headers";
const REQUEST_PRIVATE_NETWORK: &str = "access-control-request-private-network";
const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const ALLOW_METHODS: &str = "access-control-allow-methods";
const ALLOW_HEADERS: &str = "access-control-allow-headers";
const ALLOW_CREDENTIALS: &str = "access-control-allow-credentials";
const ALLOW_PRIVATE_NETWORK: &str = "access-control-allow-private-network";
const EXPOSE: &str = "access-control-expose-headers";
const MAX_AGE: &str = "access-control-max-age";
const PREFLIGHT_VARY: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

/// Firefox's maximum; other browsers remember for less.
const LONGEST_MAX_AGE_SECONDS: u64 = 86_400;

/// Limit for a page's list of names that is echoed.
const LONGEST_LIST_BYTES: usize = 4096;

#[cfg(test)]
mod tests;
