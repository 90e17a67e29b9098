//! Where the hooks of a plugin run until it has shown that they terminate: on a thread off the data cores, where they
//! delay nobody but their own exchange.

use std::future::pending;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::{ComponentNamedList, Lift, Lower};

use super::direct::{Parameters, Returned};
use super::instance::{Hook, Hooks, Instance};

/// The one permit of a plugin to run off the data cores. There is only one, so that many requests for a plugin that
/// loops take no more than one core's time.
#[derive(Debug)]
pub(super) struct Probation(Arc<Semaphore>);

/// The permit, for one hook. It is held until the hook returns, even if the client disconnects before that.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Default for Probation {
    fn default() -> Self {
        Probation(Arc::new(Semaphore::new(1)))
    }
}

impl Probation {
    /// Waits for the permit.
    pub async fn place(&self) -> Option<Place> {
        // An error would mean that the semaphore was closed, which never happens.
        self.0.clone().acquire_owned().await.ok().map(|permit| Place { _permit: permit })
    }
}

/// Calls a hook off the data cores. Its panics are resumed here.
pub(super) async fn call<P, R>(
    place: Place,
    mut instance: Box<Instance>,
    pick: impl Fn(&Hooks) -> Option<&Hook<P, R>> + Send + 'static,
    parameters: P,
) -> (Box<Instance>, wasmtime::Result<R>)
where
    P: ComponentNamedList + Lower + Parameters + Send + Sync + 'static,
    R: ComponentNamedList + Lift + Returned + Send + Sync + 'static,
{
    let work = move || {
        let Instance { store, hooks, .. } = &mut *instance;
        let hook = pick(hooks).ok_or_else(|| wasmtime::Error::msg("there is no such hook"));
        let answer = hook.and_then(|hook| hook.call(store, parameters));
        drop(place);
        (instance, answer)
    };
    // Without a runtime there are no data cores to protect.
    let Ok(runtime) = Handle::try_current() else { return work() };
    match runtime.spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and this future with it.
            Err(_) => pending().await,
        },
    }
}
