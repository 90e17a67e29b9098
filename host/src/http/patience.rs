//! How long a body may be without a byte.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// The timer is made when the body first makes somebody wait, so that a body which came with its head has none.
pub(super) struct Patience {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// A byte has come since the timer was set.
    is_fresh: bool,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Patience { limit, timer: None, is_fresh: true }
    }

    /// Notes that something has come.
    pub(super) fn renew(&mut self) {
        self.is_fresh = true;
    }

    /// Whether nothing has come for too long.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let fresh = std::mem::take(&mut self.is_fresh);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.limit)));
        if fresh {
            timer.as_mut().reset(Instant::now() + self.limit);
        }
        timer.as_mut().poll(cx)
    }
}
