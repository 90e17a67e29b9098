//! `oidc` signs people in with an OpenID Connect provider, and sets the identity.
//!
//! A browser without a session is sent to the provider (authorization code with PKCE) and comes back with a code, which
//! the gateway redeems for an ID token. The identity is kept in a cookie that only the gateway can read (the `seal`
//! capability), so the gateway itself only remembers which sessions were ended. A login in progress is in a cookie too:
//! it cannot be finished in another browser, and it leads to a path of this host afterwards.

use std::time::{Duration, UNIX_EPOCH};

use gatewright_sdk::{
    Decision, Exchange, Method, Metric, MutateError, Plugin, Response, StatusCode,
    bearer::Bearer,
    clock,
    consumers::Owner,
    form, hex, log, plugin,
    schemars::{JsonSchema, Schema, SchemaGenerator},
    serde_json::Value,
    shared_store::{self, SwapError},
    single_flight::{self, Turn},
};
use sha2::{Digest, Sha256};

mod config;
mod cookie;
mod endpoints;
mod login;
mod provider;
mod session;

pub use config::Config;
use config::{Unauthenticated, origin_and_path};
use cookie::{Cookie, NoCookie};
use login::{Login, NoCode};
use provider::{NoTokens, Provider};
use session::Session;

static DENIED: Metric = Metric::counter("denied", "Requests without a session.", &["reason"]);
static LOGINS: Metric = Metric::counter("logins", "Logins that were begun, and what became of them.", &["outcome"]);

/// The plugin.
pub struct Oidc {
    config: Config,
    bearer: Bearer,
    provider: Provider,
    sessions: Cookie,
    logins: Cookie,
    /// The gateway's origin, as browsers see it.
    origin: String,
    callback_path: String,
}

#[plugin]
impl Plugin for Oidc {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&DENIED, &LOGINS];
    const WANTS: &'static [&'static str] = &["http-client", "jwt", "seal", "secrets", "shared-store", "single-flight"];
    const CREDENTIAL: Option<fn(&mut SchemaGenerator) -> Schema> = Some(Owner::json_schema);

    fn new(config: Config) -> Result<Self, String> {
        config.check()?;
        let (sessions, logins) = (Cookie::new(&config, ""), Cookie::new(&config, "_login"));
        sessions.check_keys()?;
        let (origin, callback_path) = origin_and_path(&config.redirect_uri).ok_or("redirect_uri is no address")?;
        let (origin, callback_path) = (origin.to_owned(), callback_path.to_owned());
        if callback_path == config.logout_path {
            return Err("logout_path: it is the path of redirect_uri".to_owned());
        }
        Ok(Self {
            bearer: Bearer::new(config.settings()?, &DENIED)?,
            provider: Provider::new(&config)?,
            sessions,
            logins,
            origin,
            callback_path,
            config,
        })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let target = exchange.path();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        if path == self.callback_path {
            return self.finish(exchange, query).into();
        }
        if path == self.config.logout_path {
            return self.log_out(exchange).into();
        }
        match self.session(exchange) {
            Ok(Some(session)) => self.admit(exchange, &session),
            Ok(None) => self.without_a_session(exchange, &target),
            Err(response) => response.into(),
        }
    }
}

impl Oidc {
    // ------------------------------------------------------------ requests with a session

    fn admit(&self, exchange: &Exchange, session: &Session) -> Decision {
        let decision = self.bearer.admit(exchange, &Value::Object(session.claims.clone()).to_string());
        match (&decision, &session.access) {
            (Decision::Proceed, Some(token)) => {
                let set = exchange.request_headers().set("authorization", format!("Bearer {token}"));
                set.map_or_else(|error| broken(&error).into(), |()| Decision::Proceed)
            }
            _ => decision,
        }
    }

    /// The request's session, with fresh tokens; `None` if there is none, or it has ended.
    fn session(&self, exchange: &Exchange) -> Result<Option<Session>, Response> {
        let now = now();
        let Some(session) = self.sessions.open::<Session>(exchange) else { return Ok(None) };
        if now >= session.ends || shared_store::get(&gone(&session.id)).is_some() {
            return Ok(None);
        }
        let is_fresh = now < session.until.saturating_sub(self.config.refresh_before.0.as_secs());
        match session.refresh.clone() {
            Some(_) if is_fresh => Ok(Some(session)),
            Some(token) => self.refresh(exchange, session, &token, now),
            None => Ok(Some(session).filter(|session| now < session.until)),
        }
    }

    /// Fetches new tokens, in one request only: a provider may end a session in which a refresh token is used twice.
    /// Other requests use the old tokens while these are valid, and otherwise wait for the new ones.
    fn refresh(
        &self,
        exchange: &Exchange,
        session: Session,
        token: &str,
        now: u64,
    ) -> Result<Option<Session>, Response> {
        let (place, is_good) = (turn(token), now < session.until);
        let told = match shared_store::get(&place) {
            Some(entry) if is_good || !entry.value.is_empty() => entry.value,
            _ => {
                let wait = if is_good { Duration::ZERO } else { self.config.timeout.0 };
                match single_flight::take(&place, Some(wait)) {
                    Turn::Mine => {
                        let told = self.fetch(&place, &session, token, now);
                        single_flight::done(&place, told.as_deref().unwrap_or_default());
                        told?
                    }
                    Turn::Done(told) => told,
                    Turn::TimedOut => Vec::new(),
                }
            }
        };
        if told.is_empty() {
            return if is_good { Ok(Some(session)) } else { Err(unavailable()) };
        }
        let text = String::from_utf8(told).unwrap_or_default();
        match self.sessions.read::<Session>(&text) {
            Some(next) => self.keep(exchange, &text, next).map(Some),
            None => Ok(None),
        }
    }

    /// Returns what other requests get, and find in the store: the current session, that it has ended, or nothing if
    /// there are no new tokens at the moment.
    fn fetch(&self, place: &str, session: &Session, token: &str, now: u64) -> Result<Vec<u8>, Response> {
        // A turn is among requests of one configuration in one gateway. Routes with another configuration, and other
        // gateways with the same store, see this mark while a request asks. If that request is cancelled, nothing
        // removes the mark, so it expires when the provider would have had to answer.
        let lease = self.config.timeout.0.saturating_add(MARGIN);
        match shared_store::compare_and_set(place, None, b"", Some(lease)) {
            Ok(_) => {}
            Err(SwapError::Conflict(found)) => return Ok(found.map(|entry| entry.value).unwrap_or_default()),
            Err(SwapError::Store(error)) => {
                log::warn("it cannot be kept who refreshes", &[("why", &error.to_string())])
            }
        }
        let (told, ttl) = match self.provider.refresh(token, session.claims.get("sub")) {
            Ok(tokens) => {
                let next = session.clone().renewed(&self.config, tokens, now);
                (self.sessions.seal(&next).map(String::into_bytes), KEPT)
            }
            Err(NoTokens::Refused(why)) => {
                log::info("a session was not renewed", &[("why", &why)]);
                // No session is serialized like this, so other requests see that it has ended.
                (Ok(b"over".to_vec()), KEPT)
            }
            Err(NoTokens::Failed(why)) => {
                log::error("the provider gave no new tokens", &[("why", &why)]);
                // For some seconds no request asks again.
                (Ok(Vec::new()), PAUSE)
            }
        };
        if let Err(error) = shared_store::set(place, told.as_deref().unwrap_or_default(), Some(ttl)) {
            log::warn("what became of a refresh is not there for other requests", &[("why", &error.to_string())]);
        }
        told.map_err(|why| unfit(&why))
    }

    /// Sends the current session to the browser.
    fn keep(&self, exchange: &Exchange, text: &str, session: Session) -> Result<Session, Response> {
        let cookie = self.sessions.set(text, session.ends.saturating_sub(now()));
        exchange.response_headers().append("set-cookie", cookie).map_err(|error| broken(&error))?;
        Ok(session)
    }

    // ------------------------------------------------------------ signing in

    fn without_a_session(&self, exchange: &Exchange, target: &str) -> Decision {
        if self.config.unauthenticated == Unauthenticated::Deny || !opens_a_page(exchange) {
            return match self.bearer.token(exchange) {
                Ok(_) => self.bearer.invalid("over", "the session is over"),
                Err(decision) => decision,
            };
        }
        let endpoints = match self.provider.endpoints.get() {
            Ok(endpoints) => endpoints,
            Err(why) => {
                log::error("nobody can sign in", &[("why", &why)]);
                return unavailable().into();
            }
        };
        let seconds = self.config.login_ttl.0.as_secs();
        let login = Login::begin(target, now().saturating_add(seconds));
        match self.logins.seal(&login) {
            Ok(text) => {
                LOGINS.add(1, &["begun"]);
                redirect(&login.address(&endpoints.authorization, &self.config))
                    .with_header("set-cookie", self.logins.set(&text, seconds))
                    .into()
            }
            Err(why) => unfit(&why).into(),
        }
    }

    /// The browser comes back from the provider.
    fn finish(&self, exchange: &Exchange, query: &str) -> Response {
        if exchange.method() != Method::GET {
            return Response::problem(
                StatusCode::METHOD_NOT_ALLOWED,
                "Method Not Allowed",
                "The provider sends browsers here.",
            )
            .with_header("allow", "GET");
        }
        let Some(login) = self.logins.open::<Login>(exchange) else { return self.not_finished(NoCode::Foreign) };
        let now = now();
        let code = match login.code(query, &self.config.issuer, now) {
            Ok(code) => code,
            Err(why) => return self.not_finished(why),
        };
        let tokens = match self.provider.redeem(&code, &login.verifier, &login.nonce) {
            Ok(tokens) => tokens,
            Err(NoTokens::Refused(why)) => return self.not_finished(NoCode::Refused(why)),
            Err(NoTokens::Failed(why)) => {
                LOGINS.add(1, &["failed"]);
                log::error("the provider gave no tokens for a code", &[("why", &why)]);
                return unavailable();
            }
        };
        let session = Session::begin(&self.config, tokens, now);
        match self.sessions.seal(&session) {
            Ok(text) => {
                LOGINS.add(1, &["finished"]);
                // The origin comes first, so no path leads to another host.
                redirect(&format!("{}{}", self.origin, login.return_to))
                    .with_header("set-cookie", self.sessions.set(&text, session.ends.saturating_sub(now)))
                    .with_header("set-cookie", self.logins.forget())
            }
            Err(why) => unfit(&why),
        }
    }

    fn not_finished(&self, why: NoCode) -> Response {
        let (outcome, status, phrase, detail) = match &why {
            NoCode::Foreign => {
                ("foreign", StatusCode::BAD_REQUEST, "Bad Request", "This is not the end of a login that began here.")
            }
            NoCode::Refused(_) => ("refused", StatusCode::FORBIDDEN, "Forbidden", "The provider did not let you in."),
        };
        LOGINS.add(1, &[outcome]);
        if let NoCode::Refused(why) = why {
            log::info("a login was refused", &[("why", &why)]);
        }
        Response::problem(status, phrase, detail).with_header("cache-control", "no-store")
    }

    // ------------------------------------------------------------ signing out

    /// Ends the session here, for every copy of its cookie, and with the provider if configured. Refused for requests
    /// from other sites' pages.
    fn log_out(&self, exchange: &Exchange) -> Response {
        let site = exchange.request_headers().get("sec-fetch-site");
        if matches!(site.as_deref(), Some("cross-site")) || !matches!(exchange.method(), Method::GET | Method::POST) {
            return Response::problem(StatusCode::FORBIDDEN, "Forbidden", "Only a page of this site can sign you out.");
        }
        if let Some(session) = self.sessions.open::<Session>(exchange) {
            let left = Duration::from_secs(session.ends.saturating_sub(now()).max(1));
            if let Err(error) = shared_store::set(&gone(&session.id), b"", Some(left)) {
                log::error(
                    "a session was signed out of, but not ended for copies of it",
                    &[("why", &error.to_string())],
                );
            }
        }
        let after = format!("{}{}", self.origin, self.config.after_logout);
        let endpoints = self.provider.endpoints.get();
        if let Err(why) = &endpoints {
            log::warn("a session was ended here, and not with the provider", &[("why", why)]);
        }
        let address = match endpoints.ok().and_then(|endpoints| endpoints.into_owned().end_session) {
            Some(endpoint) => {
                let fields = form::of(&[("client_id", &self.config.client_id), ("post_logout_redirect_uri", &after)]);
                login::with_query(&endpoint, &fields)
            }
            None => after,
        };
        redirect(&address).with_header("set-cookie", self.sessions.forget())
    }
}

/// Whether a person opens a page: then they can sign in, and will see the page they asked for.
fn opens_a_page(exchange: &Exchange) -> bool {
    let [mode, accept] = exchange.request_headers().select(["sec-fetch-mode", "accept"]);
    let wants_a_page = || accept.is_some_and(|accept| accept.contains("text/html"));
    matches!(exchange.method(), Method::GET | Method::HEAD) && mode.map_or_else(wants_a_page, |mode| mode == "navigate")
}

/// Redirects with a GET, whatever the request's method was.
fn redirect(address: &str) -> Response {
    Response::new(StatusCode::SEE_OTHER).with_header("location", address).with_header("cache-control", "no-store")
}

fn unavailable() -> Response {
    let detail = "The provider does not answer at the moment.";
    Response::problem(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable", detail).with_header("retry-after", "5")
}

fn unfit(why: &NoCookie) -> Response {
    let why = match why {
        NoCookie::TooLarge => "it is too large; keep fewer claims, or do not forward the access token".to_owned(),
        NoCookie::Sealing(error) => error.to_string(),
    };
    log::error("a cookie cannot be made", &[("why", &why)]);
    Response::problem(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", "The session cannot be kept.")
}

fn broken(error: &MutateError) -> Response {
    log::error("the request could not be changed", &[("why", &error.to_string())]);
    Response::problem(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", "The session was not used.")
}

/// Seconds since 1970.
fn now() -> u64 {
    clock::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The place in the store that marks an ended session.
fn gone(session: &str) -> String {
    format!("gone:{session}")
}

/// The place in the store that marks a used refresh token, and holds the result.
fn turn(token: &str) -> String {
    format!("turn:{}", hex::encode(&Sha256::digest(token)))
}

/// How long a request with an old cookie can find the tokens that another has fetched.
const KEPT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(5);
/// How long after the provider's time limit the result may be stored.
const MARGIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
