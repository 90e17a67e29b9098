//! Work that must not slow requests down: building a snapshot, and dismantling an old one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::thread_priority;

/// Runs `work` on a thread of its own, with a lower priority than everything else when the cores are busy.
///
/// # Errors
/// The thread could not be started, or `work` panicked.
pub(super) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    std::thread::Builder::new().name("build".into()).stack_size(4 << 20).spawn(move || {
        thread_priority::step_back();
        let _ = done.send(work());
    })?;
    result.await.map_err(|_| io::Error::other("it panicked"))
}

/// Waits until this is the last reference and drops it: a data core should not have to unmap the instances.
pub(super) async fn drop_last<T>(old: Arc<T>) {
    while Arc::strong_count(&old) > 1 {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

const LOOK_AGAIN: Duration = Duration::from_millis(100);
