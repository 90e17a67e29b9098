//! The trait that a plugin's author implements.

use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use crate::{BodyDecision, Decision, Exchange, HeaderChange, Metric, Section};

/// A policy. Implement the hooks that are needed under [`macro@crate::plugin`]; the others are not exported, so
/// the gateway never calls them.
///
/// A hook that panics ends its instance: the message is logged, the changes the hook made are rolled back, and the
/// operator's `on_error` (`deny` unless set) decides about the request.
pub trait Plugin: Sized + 'static {
    /// The configuration as the operator writes it. Its JSON Schema, doc comments included, becomes part of the
    /// manifest, and the gateway checks a configuration against it before [`Plugin::new`] is called. Use [`NoConfig`]
    /// if there is none.
    type Config: DeserializeOwned + JsonSchema;

    /// The metrics of the plugin; the gateway drops values of others.
    const METRICS: &'static [&'static Metric] = &[];

    /// The interfaces the plugin cannot do without, by their names in the contract (`"http-client"`, ...). For people
    /// and tools: the actual imports are read from the component.
    const WANTS: &'static [&'static str] = &[];

    /// The JSON Schema of the credential that a consumer has under the plugin's name, most often `Some(<Credential as
    /// JsonSchema>::json_schema)`. Without it the plugin takes none.
    const CREDENTIAL: Option<fn(&mut SchemaGenerator) -> Schema> = None;

    /// The JSON Schema of a consumer's own limit under the plugin's name. Without it the plugin takes none.
    const LIMIT: Option<fn(&mut SchemaGenerator) -> Schema> = None;

    /// Whether an instance remembers anything between exchanges.
    const STATE: State = State::None;

    /// Called once in the life of an instance, before any hook. Compute everything that depends only on the
    /// configuration here: a hook runs for every request.
    ///
    /// # Errors
    /// The text is shown to the operator beside the configuration, which is then not applied.
    fn new(config: Self::Config) -> Result<Self, String>;

    /// The hooks that have nothing to do with this configuration, asked for once after [`Plugin::new`]. They are then
    /// not called.
    fn skips(&self) -> &[Hook] {
        &[]
    }

    /// Header changes for every exchange, asked for once after [`Plugin::new`]. They cost no call: the gateway makes
    /// those of the request after [`Plugin::on_request`], once that lets the request pass, and those of the response
    /// before [`Plugin::on_response`]; also if the hook does not exist or is skipped. A change that would take a
    /// message beyond its limits is left out and logged. Names and values must be valid for
    /// [`Headers::set`](crate::Headers::set); trailers cannot be changed.
    fn always(&self) -> Vec<(Section, HeaderChange)> {
        Vec::new()
    }

    /// The request's head has arrived; nothing was sent to an upstream yet.
    fn on_request(&self, exchange: &Exchange) -> Decision {
        let _ = exchange;
        Decision::Proceed
    }

    /// A part of the request's body, if `on_request` asked for it with [`Exchange::set_body_mode`].
    fn on_request_body(&self, exchange: &Exchange, chunk: Vec<u8>) -> BodyDecision {
        let _ = (exchange, chunk);
        BodyDecision::Pass
    }

    /// The response's head has arrived, from the upstream, from a plugin or from the gateway itself.
    fn on_response(&self, exchange: &Exchange) -> Decision {
        let _ = exchange;
        Decision::Proceed
    }

    /// A part of the response's body, if an earlier hook asked for it with [`Exchange::set_body_mode`].
    fn on_response_body(&self, exchange: &Exchange, chunk: Vec<u8>) -> BodyDecision {
        let _ = (exchange, chunk);
        BodyDecision::Pass
    }

    /// The exchange has ended, successfully or not. Nothing can be changed any more.
    fn on_complete(&self, exchange: &Exchange) {
        let _ = exchange;
    }

    /// Background work, on an instance of its own. Returns the time until the next call; `None` for no further call.
    fn on_tick(&self) -> Option<Duration> {
        None
    }
}

/// A hook that a configuration may not need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// [`Plugin::on_request`].
    Request,
    /// [`Plugin::on_request_body`].
    RequestBody,
    /// [`Plugin::on_response`].
    Response,
    /// [`Plugin::on_response_body`].
    ResponseBody,
    /// [`Plugin::on_complete`].
    Completion,
}

/// Whether an instance remembers anything between exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// An instance may be thrown away after any exchange.
    None,
    /// An instance keeps something worth keeping, such as a cache. It may still be thrown away at any time.
    Instance,
}

/// The configuration of a plugin that has none: only `{}` is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// What [`macro@crate::plugin`] adds to a [`Plugin`]. Do not implement it by hand.
pub trait Exported: Plugin {
    /// The package's name without the prefix `gatewright-plugin-`, or the name given to the macro.
    const NAME: &'static str;
    /// The package's version.
    const VERSION: &'static str;
    /// The hooks that are exported, by the names of their functions in the contract.
    const HOOKS: &'static [&'static str];
}

/// Makes a plugin from the text of its configuration. Empty text and `null` stand for `{}`.
pub(crate) fn configure<P: Plugin>(config: &str) -> Result<P, String> {
    let config = match config.trim() {
        "" | "null" => "{}",
        config => config,
    };
    let plugin = P::new(serde_json::from_str(config).map_err(|error| error.to_string())?)?;
    plugin.skips().iter().for_each(|hook| crate::host::hooks::skip(*hook));
    let always = plugin.always();
    for section in
        [Section::RequestHeaders, Section::RequestTrailers, Section::ResponseHeaders, Section::ResponseTrailers]
    {
        let of_it = always.iter().filter(|(of, _)| *of == section);
        let changes: Vec<&HeaderChange> = of_it.map(|(_, change)| change).collect();
        if !changes.is_empty() {
            let refused = |error| format!("what is always changed of the {section}: {error}");
            crate::host::hooks::always(section, &changes).map_err(refused)?;
        }
    }
    Ok(plugin)
}
