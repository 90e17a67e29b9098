//! `on-tick`: work off the request path, one call at a time per plugin and gateway.

use std::sync::Arc;
use std::time::Duration;

use super::instance::{self, Instance};
use super::state::Call;
use super::{FailureKind, Plugin, explain};

/// Calls the plugin's `on-tick` as long as the plugin wants more calls, on an instance of its own. Runs on the control
/// thread; the owner ends it by dropping the future.
pub async fn tick(plugin: Arc<Plugin>) {
    let mut kept: Option<Box<Instance>> = None;
    loop {
        let pause = match one_tick(&plugin, &mut kept).await {
            Ok(Some(milliseconds)) => Duration::from_millis(milliseconds.into()).max(SHORTEST),
            Ok(None) => return,
            Err(reason) => {
                plugin.lent().note(&format!("on-tick failed and is called again in {AFTER_FAILURE:?}: {reason}"));
                AFTER_FAILURE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn one_tick(plugin: &Plugin, kept: &mut Option<Box<Instance>>) -> Result<Option<u32>, String> {
    let mut instance = match kept.take() {
        Some(instance) => instance,
        None => plugin.make(Call::Tick).await.map_err(|failure| failure.to_string())?,
    };
    let Some(on_tick) = &instance.hooks.on_tick else { return Ok(None) };
    instance::arm(&mut instance.store, Call::Tick);
    let answer = if plugin.prepared.waits {
        on_tick.call_async(&mut instance.store, ()).await
    } else {
        on_tick.call(&mut instance.store, ())
    };
    instance.store.data_mut().cancel_callouts();
    match answer {
        Ok((pause,)) => {
            *kept = Some(instance);
            Ok(pause)
        }
        Err(error) => {
            let kind = FailureKind::of_trap(instance.store.data());
            Err(plugin.failure(Call::Tick, kind, explain(&error)).to_string())
        }
    }
}

/// The shortest pause between two calls, whatever the plugin asks for.
const SHORTEST: Duration = Duration::from_millis(10);
/// The pause after a failed call.
const AFTER_FAILURE: Duration = Duration::from_secs(10);
