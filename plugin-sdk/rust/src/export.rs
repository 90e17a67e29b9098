//! What [`macro@crate::plugin`] expands to on Wasm: one set of bindings per hook, so that a component exports only the
//! hooks its author wrote, and the few functions between them and [`Plugin`]. Not meant for direct use.

use std::{cell::OnceCell, panic, thread::LocalKey, time::Duration};

use crate::{BodyDecision, Decision, Exchange, Exported, Plugin, Response, log, manifest, plugin};

pub use crate::host::bindings::gatewright::plugin::types;

/// The one plugin of the instance. A component has no threads, so it sees a plain static, and a plugin may have fields
/// that are not `Sync`.
pub type Slot<P> = LocalKey<OnceCell<P>>;

pub fn describe<P: Exported>() -> String {
    log_panics();
    manifest::<P>()
}

pub fn configure<P: Exported>(slot: &'static Slot<P>, config: &str) -> Result<(), String> {
    log_panics();
    let plugin = plugin::configure::<P>(config)?;
    slot.with(|slot| slot.set(plugin).map_err(|_| "configured twice".to_owned()))
}

pub fn decide<P: Plugin>(
    slot: &'static Slot<P>,
    end_of_stream: bool,
    hook: fn(&P, &Exchange) -> Decision,
) -> types::Decision {
    with(slot, |plugin| hook(plugin, &Exchange::new(end_of_stream))).into()
}

pub fn decide_body<P: Plugin>(
    slot: &'static Slot<P>,
    chunk: Vec<u8>,
    end_of_stream: bool,
    hook: fn(&P, &Exchange, Vec<u8>) -> BodyDecision,
) -> types::BodyDecision {
    with(slot, |plugin| hook(plugin, &Exchange::new(end_of_stream), chunk)).into()
}

pub fn complete<P: Plugin>(slot: &'static Slot<P>) {
    with(slot, |plugin| plugin.on_complete(&Exchange::new(true)));
}

pub fn tick<P: Plugin>(slot: &'static Slot<P>) -> Option<u32> {
    let again: Duration = with(slot, P::on_tick)?;
    Some(u32::try_from(again.as_millis()).unwrap_or(u32::MAX))
}

#[allow(clippy::expect_used)]
fn with<P, T>(slot: &'static Slot<P>, run: impl FnOnce(&P) -> T) -> T {
    slot.with(|slot| run(slot.get().expect("the gateway configures an instance before it runs a hook")))
}

/// A panic ends the instance with a trap, which carries no text; so the text goes to the log first.
fn log_panics() {
    panic::set_hook(Box::new(|panic| log::error(&panic.to_string(), &[])));
}

impl From<Decision> for types::Decision {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Proceed => Self::Proceed,
            Decision::Respond(response) => Self::Respond(response.into()),
            Decision::Abort => Self::Abort,
        }
    }
}

impl From<BodyDecision> for types::BodyDecision {
    fn from(decision: BodyDecision) -> Self {
        match decision {
            BodyDecision::Pass => Self::Pass,
            BodyDecision::Hold => Self::Hold,
            BodyDecision::Replace(bytes) => Self::Replace(bytes),
            BodyDecision::Respond(response) => Self::Respond(response.into()),
            BodyDecision::Abort => Self::Abort,
        }
    }
}

impl From<Response> for types::LocalResponse {
    fn from(response: Response) -> Self {
        Self { status: response.status.as_u16(), headers: response.headers, body: response.body }
    }
}

/// One module per exported interface: `Guest`, the trait the macro implements, and `export`, the macro that makes the
/// symbols. Each world has a name of its own, because symbols of the object file are named after it.
macro_rules! exported {
    ($module:ident, $interface:ident, $world:literal, $wit:literal $(, $with:tt)?) => {
        pub mod $module {
            #[allow(unsafe_code, unreachable_pub, missing_docs, clippy::all)]
            mod bindings {
                wit_bindgen::generate!({
                    path: "../../wit",
                    inline: $wit,
                    world: $world,
                    $(with: $with,)?
                    pub_export_macro: true,
                    export_macro_name: "export",
                    default_bindings_module: "gatewright_sdk::export",
                });
            }
            pub use bindings::{export, exports::gatewright::plugin::$interface::Guest};
            #[doc(hidden)]
            pub use bindings::*;
        }
    };
}

exported!(
    lifecycle,
    lifecycle,
    "gatewright:sdk/sdk-lifecycle",
    "package gatewright:sdk; world sdk-lifecycle { export gatewright:plugin/lifecycle@0.1.0; }"
);
exported!(
    background,
    background,
    "gatewright:sdk/sdk-background",
    "package gatewright:sdk; world sdk-background { export gatewright:plugin/background@0.1.0; }"
);
exported!(
    completion_hook,
    completion_hook,
    "gatewright:sdk/sdk-completion",
    "package gatewright:sdk; world sdk-completion { export gatewright:plugin/completion-hook@0.1.0; }"
);
exported!(request_hook, request_hook, "gatewright:sdk/sdk-request",
    "package gatewright:sdk; world sdk-request { export gatewright:plugin/request-hook@0.1.0; }",
    { "gatewright:plugin/types@0.1.0": crate::host::bindings::gatewright::plugin::types });
exported!(request_body_hook, request_body_hook, "gatewright:sdk/sdk-request-body",
    "package gatewright:sdk; world sdk-request-body { export gatewright:plugin/request-body-hook@0.1.0; }",
    { "gatewright:plugin/types@0.1.0": crate::host::bindings::gatewright::plugin::types });
exported!(response_hook, response_hook, "gatewright:sdk/sdk-response",
    "package gatewright:sdk; world sdk-response { export gatewright:plugin/response-hook@0.1.0; }",
    { "gatewright:plugin/types@0.1.0": crate::host::bindings::gatewright::plugin::types });
exported!(response_body_hook, response_body_hook, "gatewright:sdk/sdk-response-body",
    "package gatewright:sdk; world sdk-response-body { export gatewright:plugin/response-body-hook@0.1.0; }",
    { "gatewright:plugin/types@0.1.0": crate::host::bindings::gatewright::plugin::types });
