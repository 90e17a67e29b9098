//! Waiting for a state.

use std::time::{Duration, Instant};

/// Asks `check` again and again until it gives something; fails with `what` after twenty seconds.
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not come to this: {what}");
        // Not a wait for something to have happened, only a pause between two looks.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
