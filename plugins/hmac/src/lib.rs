//! `hmac` lets callers in who sign their requests with a known key (HTTP message signatures, RFC 9421), and sets the
//! identity.
//!
//! A signature must cover what the operator requires, be recent, and be used once: its nonce is kept in the shared
//! store for as long as it would be valid. The gateway checks the signature natively (the `jwt` capability: the
//! algorithms are the same, byte for byte); the plugin assembles the signed text. A body is bound to the signature by
//! its digest (RFC 9530).

use std::time::UNIX_EPOCH;

use gatewright_sdk::{
    BodyDecision, BodyMode, Decision, Direction, Exchange, Metric, Plugin, Response, StatusCode, clock, consumers,
    jwt::VerifyError,
    log, plugin, rules,
    schemars::{JsonSchema, Schema, SchemaGenerator},
    serde::{Deserialize, Serialize},
    serde_json,
};

mod base;
mod config;
mod digest;
mod keys;
mod nonces;
mod signature;
mod structured;

use config::Nonce;
pub use config::{Config, Credential};
use digest::Digests;
use keys::{Keys, Known};
use nonces::{Nonces, NotUsed};
use signature::{BadTime, Found, Signature};
use structured::Item;

static DENIED: Metric = Metric::counter("denied", "Requests without a good signature.", &["reason"]);

/// The plugin.
pub struct Hmac {
    config: Config,
    keys: Keys,
    nonces: Nonces,
    components: Vec<Item>,
    content_digest: Item,
    challenge: String,
    /// `Accept-Signature` for a request without a body.
    accepted: String,
    /// The same for one with a body.
    accepted_with_body: String,
}

/// Why a signature is not accepted: the metric's label, and the text for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusal(&'static str, &'static str);

const MISSING: Refusal = Refusal("missing", "The request is not signed.");
const MALFORMED: Refusal = Refusal("malformed", "The headers signature-input and signature do not fit each other.");
const UNKNOWN: Refusal =
    Refusal("unknown", "The signature is by an unknown key, or by another algorithm than the key is for.");
const TIMELESS: Refusal = Refusal("time", "The signature has no created, or times that are no whole seconds.");
const EXPIRED: Refusal = Refusal("expired", "The signature is too old.");
const FUTURE: Refusal = Refusal("time", "The signature is from the future.");
const NO_NONCE: Refusal = Refusal("nonce", "The signature has no nonce, or one that is too long.");
const REPLAYED: Refusal = Refusal("replayed", "The signature was used before.");
const UNCOVERED: Refusal = Refusal("uncovered", "The signature does not cover what it has to.");
const NO_DIGEST: Refusal = Refusal("digest", "The header content-digest has no digest that is known here.");
const ANOTHER_BODY: Refusal = Refusal("digest", "The body is not the one that was signed.");
const WRONG: Refusal = Refusal("wrong", "The signature is not of this request.");

/// What is kept from the head to the end of the body.
#[derive(Serialize, Deserialize)]
#[serde(crate = "gatewright_sdk::serde")]
struct Kept {
    /// What the body has to be, if that was signed.
    digests: Option<Digests>,
    /// Whose nonce it is.
    key: String,
    /// Where the store has the nonce.
    nonce: Option<String>,
}

#[plugin]
impl Plugin for Hmac {
    type Config = Config;

    const METRICS: &'static [&'static Metric] = &[&DENIED];
    const WANTS: &'static [&'static str] = &["jwt", "shared-store"];
    const CREDENTIAL: Option<fn(&mut SchemaGenerator) -> Schema> = Some(Credential::json_schema);

    fn new(mut config: Config) -> Result<Self, String> {
        config.check()?;
        if config.components.is_empty() {
            return Err("components: at least one is needed".to_owned());
        }
        let component = |text: &String| signature::component(text).map_err(|why| format!("components: {text:?} {why}"));
        let components: Vec<Item> = config.components.iter().map(component).collect::<Result<_, _>>()?;
        let content_digest = signature::component("content-digest").map_err(str::to_owned)?;
        let also = config.digest.then_some(&content_digest).filter(|digest| !components.contains(digest));
        let (accepted, accepted_with_body) =
            (accepted(&config, components.iter()), accepted(&config, components.iter().chain(also)));
        let keys =
            Keys::new(config.keys.take(), if config.consumers { consumers::credentials()? } else { Vec::new() })?;
        let share = config.nonces_per_key.unwrap_or_else(|| nonces::share(keys.ids().count()));
        Ok(Self {
            nonces: Nonces::new(config.max_age.0 + 2 * config.leeway.0, share, keys.ids()),
            keys,
            challenge: format!("Signature realm={}", rules::quoted(&config.realm)),
            components,
            accepted,
            accepted_with_body,
            content_digest,
            config,
        })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let has_body = !exchange.end_of_stream();
        let signatures = match signature::find(exchange, self.config.tag.as_deref()) {
            Found::Some(signatures) => signatures,
            Found::Nothing if self.config.optional => return Decision::Proceed,
            Found::Nothing => return self.refuse(MISSING, has_body).into(),
            Found::Malformed => return self.refuse(MALFORMED, has_body).into(),
        };
        let mut why = None;
        for signature in &signatures {
            match self.check(exchange, signature) {
                Ok((known, kept)) => return self.admit(exchange, known, kept),
                Err(refusal) => _ = why.get_or_insert(refusal),
            }
        }
        self.refuse(why.unwrap_or(MISSING), has_body).into()
    }

    fn on_request_body(&self, exchange: &Exchange, body: Vec<u8>) -> BodyDecision {
        let Ok(kept) = serde_json::from_slice::<Kept>(&exchange.state()) else {
            log::error("what was signed is not known any more", &[]);
            return unavailable().into();
        };
        if !kept.digests.as_ref().is_some_and(|digests| digests.fit(&body)) {
            return self.refuse(ANOTHER_BODY, true).into();
        }
        match self.use_up(&kept) {
            Ok(()) => BodyDecision::Pass,
            Err(response) => response.into(),
        }
    }
}

impl Hmac {
    /// The key that made the signature, and the digests that the body must have.
    fn check(&self, exchange: &Exchange, signature: &Signature) -> Result<(&Known, Kept), Refusal> {
        let id = signature.text("keyid").ok_or(UNKNOWN)?;
        let known = self.keys.get(id).ok_or(UNKNOWN)?;
        if signature.has("alg") && signature.text("alg") != Some(known.algorithm.name()) {
            return Err(UNKNOWN);
        }
        let now = clock::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        signature.check_time(now, self.config.max_age.0, self.config.leeway.0).map_err(|bad| match bad {
            BadTime::Missing => TIMELESS,
            BadTime::Expired => EXPIRED,
            BadTime::Future => FUTURE,
        })?;
        let nonce = match signature.text("nonce") {
            Some(nonce) if !nonce.is_empty() && nonce.len() <= LONGEST_NONCE_BYTES => Some(nonces::place(id, nonce)),
            None if self.config.nonce == Nonce::Optional && !signature.has("nonce") => None,
            _ => return Err(NO_NONCE),
        };
        if !self.components.iter().all(|component| signature.covers(component)) {
            return Err(UNCOVERED);
        }
        let digests = self.digests(exchange, signature)?;
        let base = base::Request::of(exchange).base(&signature.covered).map_err(|_| WRONG)?;
        match self.keys.verify(id, &base, &signature.bytes) {
            Ok(()) => Ok((known, Kept { digests, key: id.to_owned(), nonce })),
            Err(VerifyError::BadSignature | VerifyError::Malformed) => Err(WRONG),
            Err(error) => {
                log::warn("a signature could not be checked", &[("why", &error.to_string())]);
                Err(WRONG)
            }
        }
    }

    /// The digests that the body must have, if the signature covers them.
    fn digests(&self, exchange: &Exchange, signature: &Signature) -> Result<Option<Digests>, Refusal> {
        let has_body = !exchange.end_of_stream();
        if !signature.covers(&self.content_digest) {
            return if self.config.digest && has_body { Err(UNCOVERED) } else { Ok(None) };
        }
        let digests = Digests::read(&exchange.request_headers().values("content-digest")).ok_or(NO_DIGEST)?;
        match has_body {
            true => Ok(Some(digests)),
            false if digests.fit(b"") => Ok(None),
            false => Err(ANOTHER_BODY),
        }
    }

    /// A request with a bound body waits for its end; until then its nonce is not used.
    fn admit(&self, exchange: &Exchange, known: &Known, kept: Kept) -> Decision {
        let waits = if kept.digests.is_some() {
            let kept = serde_json::to_vec(&kept).unwrap_or_default();
            exchange.set_state(&kept).and_then(|()| exchange.set_body_mode(Direction::Request, BodyMode::Whole))
        } else if let Err(response) = self.use_up(&kept) {
            return response.into();
        } else {
            Ok(())
        };
        match waits.and_then(|()| exchange.set_identity(&known.subject, &known.claims)) {
            Ok(()) => Decision::Proceed,
            Err(error) => {
                log::error("the signature is good but the request could not be held", &[("why", &error.to_string())]);
                Decision::problem(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Internal Server Error",
                    "The signature was not used.",
                )
            }
        }
    }

    /// Uses the nonce, which works once while its signature is valid.
    fn use_up(&self, kept: &Kept) -> Result<(), Response> {
        let Some(nonce) = &kept.nonce else { return Ok(()) };
        self.nonces.use_up(&kept.key, nonce).map_err(|why| match why {
            NotUsed::Before => self.refuse(REPLAYED, kept.digests.is_some()),
            NotUsed::Share => {
                log::info("a key has used up its share of nonces", &[("key", &kept.key)]);
                DENIED.add(1, &["share"]);
                let detail =
                    "This key has signed so many requests in a short time that no more nonces of it can be kept.";
                Response::problem(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests", detail)
                    .with_header("retry-after", self.nonces.wait().to_string())
            }
            NotUsed::Store(error) => {
                log::error("it cannot be kept that a nonce was used", &[("why", &error.to_string())]);
                DENIED.add(1, &["store"]);
                unavailable()
            }
        })
    }

    fn refuse(&self, refusal: Refusal, has_body: bool) -> Response {
        let Refusal(reason, detail) = refusal;
        DENIED.add(1, &[reason]);
        Response::problem(StatusCode::UNAUTHORIZED, "Unauthorized", detail)
            .with_header("www-authenticate", self.challenge.as_str())
            .with_header("accept-signature", if has_body { &self.accepted_with_body } else { &self.accepted })
    }
}

/// `Accept-Signature` (RFC 9421, section 5.1), for a signature that covers these components.
fn accepted<'a>(config: &Config, components: impl Iterator<Item = &'a Item>) -> String {
    let covered: Vec<String> = components.map(Item::to_string).collect();
    let mut accepted = format!("sig=({});created", covered.join(" "));
    if config.nonce == Nonce::Required {
        accepted.push_str(";nonce");
    }
    if let Some(tag) = &config.tag {
        accepted.push_str(&format!(";tag={}", rules::quoted(tag)));
    }
    accepted
}

fn unavailable() -> Response {
    let detail = "Signatures cannot be checked at the moment.";
    Response::problem(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable", detail).with_header("retry-after", "5")
}

const LONGEST_NONCE_BYTES: usize = 256;

#[cfg(test)]
mod tests;
