//! Where a hook runs of a plugin that has not shown yet that it comes to an end: on a thread beside the data cores, where it
//! holds up nobody but its own exchange.

use std::future::pending;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use wasmtime::component::{ComponentNamedList, Lift, Lower};

use super::direct::{Parameters, Returned};
use super::instance::{Hook, Hooks, Instance};

/// The place of one plugin beside the cores. There is one, so that many requests for a plugin that loops take no more than a
/// core's time.
#[derive(Debug)]
pub(super) struct Aside(Semaphore);

impl Default for Aside {
    fn default() -> Self {
        Aside(Semaphore::new(1))
    }
}

impl Aside {
    /// Waits for the place.
    pub async fn place(&self) -> Option<SemaphorePermit<'_>> {
        // An error would mean that it was closed, which it never is.
        self.0.acquire().await.ok()
    }
}

/// Calls a hook there. A panic goes on here. `None` where the instance has no such hook.
pub(super) async fn call<P, R>(
    mut instance: Box<Instance>,
    pick: impl Fn(&Hooks) -> Option<&Hook<P, R>> + Send + 'static,
    parameters: P,
) -> (Box<Instance>, Option<wasmtime::Result<R>>)
where
    P: ComponentNamedList + Lower + Parameters + Send + Sync + 'static,
    R: ComponentNamedList + Lift + Returned + Send + Sync + 'static,
{
    let work = move || {
        let Instance { store, hooks, .. } = &mut *instance;
        let answer = pick(hooks).map(|hook| hook.call(store, parameters));
        (instance, answer)
    };
    // Where there is no runtime, there are no cores to be held up.
    let Ok(runtime) = Handle::try_current() else { return work() };
    match runtime.spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and this with it.
            Err(_) => pending().await,
        },
    }
}
