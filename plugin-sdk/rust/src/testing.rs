//! The gateway's double: run a plugin's hooks in a plain `cargo test`.
//!
//! ```
//! # use gatewright_sdk::{Decision, Exchange, Plugin, NoConfig};
//! # struct Greet;
//! # impl Plugin for Greet {
//! #     type Config = NoConfig;
//! #     fn new(_: NoConfig) -> Result<Self, String> { Ok(Greet) }
//! #     fn on_request(&self, exchange: &Exchange) -> Decision {
//! #         let _ = exchange.request_headers().set("x-greeting", "hi");
//! #         Decision::Proceed
//! #     }
//! # }
//! use gatewright_sdk::testing::{Double, Request};
//!
//! let gateway = Double::new();
//! let greet: Greet = gateway.configure("{}").unwrap();
//! gateway.receive(Request::get("/").header("x-name", "Ada"));
//! assert_eq!(gateway.on_request(&greet), Decision::Proceed);
//! assert_eq!(gateway.request_header("x-greeting").as_deref(), Some("hi"));
//! ```
//!
//! The double keeps the gateway's rules: which names are forbidden, what may still be changed in which hook, and what a
//! call outside of a hook does (it panics here, and traps there). The store, the limiter and the clock are real and
//! small; the clock only moves with [`Double::advance`]. Tokens and upstreams answer what the test says.
//!
//! One double is the gateway of one thread: making another one starts afresh, and a plugin that is called without a
//! double meets an empty gateway.

mod limiter;
mod meters;
mod request;
mod store;
pub(crate) mod world;

use std::{marker::PhantomData, time::Duration};

use http::StatusCode;

pub use request::Request;
pub use world::{Codec, Line, Measure};

use crate::{
    BodyDecision, BodyMode, Decision, Direction, Exchange, Hook, Identity, Plugin, Section,
    http_client::{self, CallError},
    json_schema::Violation,
    jwt::VerifyError,
    plugin,
    single_flight::Turn,
};
use world::{Phase, World, with};

/// An exchange that is in progress while another one runs; see [`Double::set_aside`].
#[derive(Debug)]
#[must_use = "it ends with `Double::end`"]
pub struct Aside(world::Exchange);

/// The gateway around a plugin under test.
#[derive(Debug)]
pub struct Double {
    /// The world belongs to the thread, so its handle must not leave the thread.
    of_this_thread: PhantomData<*const ()>,
}

impl Double {
    /// Nothing is granted or stored; the exchange is `GET http://localhost/` from an unknown client.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        with(|world| *world = World::default());
        Self { of_this_thread: PhantomData }
    }

    // ------------------------------------------------------------ what surrounds the plugin

    /// Seals as [`crate::seal::seal`] would, for data that a client sends.
    ///
    /// # Panics
    /// If the secret is missing or too short.
    #[must_use]
    #[allow(clippy::expect_used)]
    pub fn sealed(&self, key: &str, purpose: &str, message: &[u8]) -> Vec<u8> {
        crate::host::seal::seal(key, purpose, message).expect("the secret is there and long enough")
    }

    /// Adds a consumer's credential. `claims` is the claims of the consumer's identity.
    pub fn credential(&self, consumer: &str, claims: &str, definition: &str) {
        let credential = [consumer, claims, definition].map(str::to_owned).into();
        with(|world| world.credentials.push(credential));
    }

    /// Gives a consumer a limit of its own.
    pub fn consumer_limit(&self, consumer: &str, definition: &str) {
        with(|world| world.consumer_limits.push((consumer.to_owned(), definition.to_owned())));
    }

    /// Grants a secret.
    pub fn secret(&self, name: &str, value: &str) {
        with(|world| world.secrets.insert(name.to_owned(), value.to_owned()));
    }

    /// Sets the outcome of [`crate::jwt::verify`] for a token; all other tokens have a bad signature.
    pub fn token(&self, token: &str, outcome: Result<&str, VerifyError>) {
        with(|world| world.tokens.insert(token.to_owned(), outcome.map(str::to_owned)));
    }

    /// Sets the signature of a message by the key `kid`, for [`crate::jwt::verify_message`]. All others are wrong.
    pub fn signature(&self, kid: &str, algorithm: &str, message: &str, signature: &[u8]) {
        with(|world| world.signatures.insert(format!("{kid} {algorithm} {message}"), signature.to_vec()));
    }

    /// Makes [`crate::single_flight::take`] return this for every key, as if another caller had the turn.
    pub fn others_turn(&self, turn: Turn) {
        with(|world| world.others_turn = Some(turn));
    }

    /// Sets the discovery document of a key set, for [`crate::jwt::discovered`].
    pub fn discovered(&self, keys: &str, document: &str) {
        with(|world| world.discovered.insert(keys.to_owned(), document.to_owned()));
    }

    /// Makes [`crate::jwt::declare`] refuse every key set.
    pub fn refuse_keys(&self, why: &str) {
        with(|world| world.keys_refused = Some(why.to_owned()));
    }

    /// The definition of a key set that was declared.
    #[must_use]
    pub fn declared_keys(&self, name: &str) -> Option<String> {
        with(|world| world.keys.get(name).cloned())
    }

    /// Adds a violation to every value checked with the schema at this place. The double checks nothing: a value is
    /// valid unless the test says otherwise.
    pub fn violation(&self, name: &str, place: &str, pointer: &str, message: &str) {
        let violation = Violation { pointer: pointer.to_owned(), message: message.to_owned() };
        with(|world| world.violations.entry((name.to_owned(), place.to_owned())).or_default().push(violation));
    }

    /// The values passed to [`crate::json_schema::check`], with the name and the place of the schema.
    #[must_use]
    pub fn checked(&self) -> Vec<(String, String, serde_json::Value)> {
        with(|world| world.checked.clone())
    }

    /// Sets the password of a hash. The double hashes nothing; it accepts any text that begins like a hash.
    pub fn password(&self, hash: &str, password: &str) {
        with(|world| world.passwords.insert(hash.to_owned(), password.to_owned()));
    }

    /// Makes [`crate::password::verify`] report that it is busy.
    pub fn passwords_are_busy(&self, busy: bool) {
        with(|world| world.passwords_busy = busy);
    }

    /// The hashes passed to [`crate::password::verify`].
    #[must_use]
    pub fn passwords_checked(&self) -> Vec<String> {
        with(|world| world.passwords_checked.clone())
    }

    /// Makes [`crate::rate_limit::take_all`] report that counting is not possible.
    pub fn limits_are_unavailable(&self, unavailable: bool) {
        with(|world| world.limits_unavailable = unavailable);
    }

    /// Takes the exchange away, so that another can be received while it is in progress.
    pub fn set_aside(&self) -> Aside {
        Aside(with(|world| std::mem::take(&mut world.exchange)))
    }

    /// Ends an exchange that was set aside.
    pub fn end(&self, aside: Aside) {
        with(|world| world.end(&aside.0));
    }

    /// Grants an upstream to [`crate::http_client`] and sets its response.
    pub fn upstream(
        &self,
        name: &str,
        answer: impl FnMut(&http_client::Request) -> Result<http_client::Response, CallError> + 'static,
    ) {
        with(|world| world.upstreams.insert(name.to_owned(), Box::new(answer)));
    }

    /// Puts an upstream on the route's allow-list for [`Exchange::set_upstream`].
    pub fn allow_upstream(&self, name: &str) {
        with(|world| world.route_upstreams.push(name.to_owned()));
    }

    /// Moves the clock forward.
    pub fn advance(&self, time: Duration) {
        with(|world| world.elapsed += time);
    }

    // ------------------------------------------------------------ running the plugin

    /// Makes an instance, as the gateway does, from the text of a configuration. The metrics it declares can be counted
    /// from then on.
    ///
    /// # Errors
    /// What the operator would be told. The gateway checks the schema before; the double does not.
    pub fn configure<P: Plugin>(&self, config: &str) -> Result<P, String> {
        with(|world| {
            world.phase = Phase::Configure;
            world.skipped.clear();
            world.always.clear();
            world.metrics_declared.extend(P::METRICS.iter().map(|metric| metric.name));
        });
        let plugin = plugin::configure(config);
        with(|world| world.phase = Phase::Outside);
        plugin
    }

    /// Starts a new exchange. The store, limiter, clock, log and metrics stay.
    pub fn receive(&self, request: Request) {
        with(|world| {
            let before = std::mem::replace(&mut world.exchange, request.into());
            world.end(&before);
        });
    }

    /// Runs the request hook unless the plugin skips it, and makes the changes declared for every request.
    pub fn on_request(&self, plugin: &impl Plugin) -> Decision {
        let (end, is_skipped) =
            with(|world| (!world.exchange.request_has_body, world.skipped.contains(&Hook::Request)));
        let decision = match is_skipped {
            true => Decision::Proceed,
            false => self.run(Phase::Request, || plugin.on_request(&Exchange::new(end))),
        };
        if decision == Decision::Proceed {
            with(|world| world.make_always(Section::RequestHeaders));
        }
        decision
    }

    /// Gives the exchange a response with a non-empty body.
    pub fn respond(&self, status: StatusCode, headers: &[(&str, &str)]) {
        with(|world| {
            world.exchange.status = status.as_u16();
            let headers = headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_bytes().to_vec()));
            world.exchange.sections.insert(Section::ResponseHeaders, headers.collect());
        });
    }

    /// Gives the response trailers, which arrive with its last chunk, in addition to those set by the response hook.
    pub fn trailers(&self, trailers: &[(&str, &str)]) {
        let trailers = trailers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_bytes().to_vec()));
        with(|world| world.exchange.sections.entry(Section::ResponseTrailers).or_default().extend(trailers));
    }

    /// Makes the changes declared for every response and those that the request hook left for it, and runs the response
    /// hook unless the plugin skips it. Call it after [`Double::respond`].
    pub fn on_response(&self, plugin: &impl Plugin) -> Decision {
        self.respond_to(plugin, false)
    }

    /// The same for a response without a body.
    pub fn on_bodyless_response(&self, plugin: &impl Plugin) -> Decision {
        self.respond_to(plugin, true)
    }

    fn respond_to(&self, plugin: &impl Plugin, end_of_stream: bool) -> Decision {
        let is_skipped = with(|world| {
            world.make_always(Section::ResponseHeaders);
            let headers = world.exchange.sections.entry(Section::ResponseHeaders).or_default();
            world.exchange.later.drain(..).for_each(|edit| edit.apply(headers));
            world.skipped.contains(&Hook::Response)
        });
        if is_skipped {
            return Decision::Proceed;
        }
        self.run(Phase::Response, || plugin.on_response(&Exchange::new(end_of_stream)))
    }

    /// Lets another plugin of the chain change the exchange in its header hook of this direction: one behind the plugin
    /// under test, if that one's hook has already run.
    pub fn behind(&self, direction: Direction, change: impl FnOnce(&Exchange)) {
        let phase = match direction {
            Direction::Request => Phase::Request,
            Direction::Response => Phase::Response,
        };
        self.run(phase, || change(&Exchange::new(false)));
    }

    /// Sends a request body through the plugin, in the mode the plugin asked for, and returns the resulting body.
    ///
    /// # Errors
    /// [`BodyDecision::Respond`] or [`BodyDecision::Abort`], if the plugin ended it so.
    pub fn request_body<P: Plugin>(&self, plugin: &P, chunks: &[&[u8]]) -> Result<Vec<u8>, BodyDecision> {
        self.body(Direction::Request, chunks, |exchange, chunk| plugin.on_request_body(exchange, chunk))
    }

    /// Sends a response body through the plugin.
    ///
    /// # Errors
    /// As [`Double::request_body`].
    pub fn response_body<P: Plugin>(&self, plugin: &P, chunks: &[&[u8]]) -> Result<Vec<u8>, BodyDecision> {
        self.body(Direction::Response, chunks, |exchange, chunk| plugin.on_response_body(exchange, chunk))
    }

    /// Runs the completion hook.
    pub fn on_complete(&self, plugin: &impl Plugin) {
        self.run(Phase::Complete, || plugin.on_complete(&Exchange::new(true)));
    }

    /// Runs the background hook.
    pub fn on_tick(&self, plugin: &impl Plugin) -> Option<Duration> {
        plugin.on_tick()
    }

    fn run<T>(&self, phase: Phase, hook: impl FnOnce() -> T) -> T {
        with(|world| world.phase = phase);
        let answer = hook();
        with(|world| {
            world.phase = Phase::Outside;
            world.running.clear();
            world.turns.clear();
        });
        answer
    }

    fn body(
        &self,
        direction: Direction,
        chunks: &[&[u8]],
        hook: impl Fn(&Exchange, Vec<u8>) -> BodyDecision,
    ) -> Result<Vec<u8>, BodyDecision> {
        let mode = with(|world| world.exchange.body_mode(direction));
        let whole = [chunks.concat()];
        let chunks: Vec<&[u8]> = match mode {
            BodyMode::Skip => return Ok(chunks.concat()),
            BodyMode::Whole => whole.iter().map(Vec::as_slice).collect(),
            BodyMode::Chunks => chunks.to_vec(),
        };
        let phase = match direction {
            Direction::Request => Phase::RequestBody { headers_wait: mode == BodyMode::Whole },
            Direction::Response => Phase::ResponseBody { headers_wait: mode == BodyMode::Whole },
        };
        let (mut sent, mut held, mut enough) = (Vec::new(), Vec::new(), 0);
        for (index, chunk) in chunks.iter().enumerate() {
            held.extend_from_slice(chunk);
            let end = index + 1 == chunks.len();
            if !end && held.len() < enough {
                continue;
            }
            let decision = self.run(phase, || hook(&Exchange::new(end), held.clone()));
            let back = with(|world| world.exchange.held_back.take()).filter(|_| !end);
            enough = back.map_or(0, |(_, enough)| enough);
            let tail = held.split_off(held.len().saturating_sub(back.map_or(0, |(tail, _)| tail)));
            match decision {
                BodyDecision::Pass => sent.append(&mut held),
                BodyDecision::Hold if end => sent.append(&mut held),
                BodyDecision::Hold => {}
                BodyDecision::Replace(bytes) => {
                    held.clear();
                    sent.extend(bytes);
                }
                end @ (BodyDecision::Respond(_) | BodyDecision::Abort) => return Err(end),
            }
            held.extend(tail);
        }
        Ok(sent)
    }

    // ------------------------------------------------------------ looking at what it did

    /// The current method of the request.
    #[must_use]
    pub fn method(&self) -> String {
        with(|world| world.exchange.method.clone())
    }

    /// The current authority of the request.
    #[must_use]
    pub fn authority(&self) -> String {
        with(|world| world.exchange.authority.clone())
    }

    /// The current path of the request, with the query.
    #[must_use]
    pub fn path(&self) -> String {
        with(|world| world.exchange.path.clone())
    }

    /// The current status of the response; 0 before there is one.
    #[must_use]
    pub fn status(&self) -> u16 {
        with(|world| world.exchange.status)
    }

    /// The upstream the plugin chose.
    #[must_use]
    pub fn chosen_upstream(&self) -> Option<String> {
        with(|world| world.exchange.upstream.clone())
    }

    /// The first value of a request header.
    #[must_use]
    pub fn request_header(&self, name: &str) -> Option<String> {
        self.header_values(Section::RequestHeaders, name).into_iter().next()
    }

    /// The first value of a response header.
    #[must_use]
    pub fn response_header(&self, name: &str) -> Option<String> {
        self.header_values(Section::ResponseHeaders, name).into_iter().next()
    }

    /// Every value of a header, as text.
    #[must_use]
    pub fn header_values(&self, section: Section, name: &str) -> Vec<String> {
        let values = with(|world| world.exchange.values(section, name));
        values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// An attribute, including those the plugin set: they are `plugin.under-test.NAME`.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<String> {
        with(|world| world.exchange.attributes.get(name).cloned())
    }

    /// The current caller.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        with(|world| world.exchange.identity.clone())
    }

    /// The body mode that the plugin asked for.
    #[must_use]
    pub fn body_mode(&self, direction: Direction) -> BodyMode {
        with(|world| world.exchange.body_mode(direction))
    }

    /// The calls of [`crate::codec`], in order. The double compresses nothing: bodies reach the body hooks as the test
    /// sends them.
    #[must_use]
    pub fn codecs(&self) -> Vec<(Direction, Codec)> {
        with(|world| world.exchange.codecs.clone())
    }

    /// The state that the plugin kept for this exchange.
    #[must_use]
    pub fn state(&self) -> Vec<u8> {
        with(|world| world.exchange.state.clone())
    }

    /// Every logged line, including those below the level that the gateway would keep.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        with(|world| world.lines.clone())
    }

    /// Every recorded metric value, in order.
    #[must_use]
    pub fn measures(&self) -> Vec<Measure> {
        with(|world| world.measures.clone())
    }

    /// The requests that plugins sent to upstreams.
    #[must_use]
    pub fn calls(&self) -> Vec<http_client::Request> {
        with(|world| world.calls.clone())
    }
}
