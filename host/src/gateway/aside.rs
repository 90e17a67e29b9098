//! Work that requests should not feel: building a snapshot, and taking an old one apart.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

/// Runs `work` on a thread of its own, behind everything else where the cores are busy.
///
/// # Errors
/// The thread could not be started, or `work` panicked.
pub(super) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    std::thread::Builder::new().name("build".into()).stack_size(4 << 20).spawn(move || {
        step_back();
        let _ = done.send(work());
    })?;
    result.await.map_err(|_| io::Error::other("it panicked"))
}

/// Lets this thread come after the others. Best effort: without it a reload is only less polite.
#[allow(unsafe_code)]
fn step_back() {
    // SAFETY: nice(2) takes a number and touches no memory of ours. On Linux it is about the calling thread alone.
    unsafe { libc::nice(NICENESS) };
}

/// Waits until nobody else has it, and drops it then: to unmap its instances is not for a data core.
pub(super) async fn drop_last<T>(old: Arc<T>) {
    while Arc::strong_count(&old) > 1 {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// A tenth of the share of a data core, where they compete.
const NICENESS: libc::c_int = 10;
const LOOK_AGAIN: Duration = Duration::from_millis(100);
