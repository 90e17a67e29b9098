//! An attempt that may be abandoned: the client disconnects, or a timeout shorter than the endpoint's expires.

use std::sync::Arc;
use std::time::Duration;

use super::endpoint::Endpoint;
use super::{Upstream, members};

/// Guards an attempt. If it is dropped before it [ends](AttemptGuard::ends), the attempt is excused, which is not
/// counted as a success: otherwise an endpoint that hangs would look like the fastest, since none of its answers is
/// slow.
pub(super) struct AttemptGuard<'a> {
    upstream: &'a Upstream,
    endpoint: &'a Arc<Endpoint>,
    /// When the attempt began; set only if balancing uses latency.
    started: Option<Duration>,
}

impl<'a> AttemptGuard<'a> {
    pub fn begin(upstream: &'a Upstream, endpoint: &'a Arc<Endpoint>) -> AttemptGuard<'a> {
        AttemptGuard { upstream, endpoint, started: upstream.settings.is_timed().then(members::now) }
    }

    /// Excuses the attempt, which the client was too slow for. How long it took says nothing about the endpoint either.
    pub fn excuse(self) {
        self.endpoint.health().excuse();
        self.ends();
    }

    /// Marks the attempt as ended, with whatever result. Returns when it began.
    pub fn ends(self) -> Option<Duration> {
        let started = self.started;
        // All fields are references, so forgetting them leaks nothing.
        std::mem::forget(self);
        started
    }
}

impl Drop for AttemptGuard<'_> {
    #[cold]
    fn drop(&mut self) {
        self.endpoint.health().excuse();
        let members = self.upstream.members.held();
        members.given_up(&self.upstream.settings, self.endpoint, self.started);
    }
}
