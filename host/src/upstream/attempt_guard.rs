//! An attempt that may be abandoned: the client disconnects, or a timeout shorter than the endpoint's expires.

use std::sync::Arc;
use std::time::Duration;

use super::endpoint::Endpoint;
use super::{Upstream, members};

/// The guard of an attempt. Where it is dropped before it [ends](AttemptGuard::ends), the endpoint is excused, which is
/// not the same as having done well: an endpoint that hangs would else look like the fastest, since none of its answers
/// is slow.
pub(super) struct AttemptGuard<'a> {
    upstream: &'a Upstream,
    endpoint: &'a Arc<Endpoint>,
    /// When it began, where the balancing is by time.
    started: Option<Duration>,
}

impl<'a> AttemptGuard<'a> {
    pub fn begin(upstream: &'a Upstream, endpoint: &'a Arc<Endpoint>) -> AttemptGuard<'a> {
        AttemptGuard { upstream, endpoint, started: upstream.settings.is_timed().then(members::now) }
    }

    /// It ended, however. The answer is when it began.
    pub fn ends(self) -> Option<Duration> {
        let started = self.started;
        // It has nothing but references, so nothing is lost with what would be dropped.
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
