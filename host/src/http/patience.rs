//! How long a body may be without a byte.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A timeout for a body. The timer is created when somebody first has to wait, so a body that came with its head has
/// none.
pub(super) struct Patience {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// Something has arrived since the timer was set.
    is_fresh: bool,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Patience { limit, timer: None, is_fresh: true }
    }

    /// Records that something has arrived.
    pub(super) fn renew(&mut self) {
        self.is_fresh = true;
    }

    /// Ready if nothing has arrived for too long.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let fresh = std::mem::take(&mut self.is_fresh);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.limit)));
        if fresh {
            timer.as_mut().reset(Instant::now() + self.limit);
        }
        timer.as_mut().poll(cx)
    }
}
