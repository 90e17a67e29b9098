//! Waiting for a state.

use std::time::{Duration, Instant};

/// How long a state is waited for before a test fails: more than a slow machine needs, which compiles components for
/// other tests as well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Asks `check` again and again until it gives something; fails with `what` after a minute.
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not come to this: {what}");
        // Not a wait for something to have happened, only a pause between two looks.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
