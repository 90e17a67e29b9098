//! The mirrors of a route, from its configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::request;

use super::Snapshot;
use super::targets::{self, Edits};
use crate::config;
use crate::mirror::{Copy, Counts, EVERY, Mirror, Settings};
use crate::router::PathPattern;
use crate::upstream::{Client, Upstream};

/// The mirrors that get copies of a route's requests.
pub struct Mirrors(Vec<Mirrored>);

/// One mirror, with its changes to a copy.
pub struct Mirrored {
    pub mirror: Mirror,
    pub edits: Option<Arc<Edits>>,
}

impl Mirrors {
    /// Copies of the request with this head, for each mirror that samples it and has a free slot.
    pub fn copies(&self, head: &request::Parts, client: &Client<'_>, pattern: Option<&PathPattern>) -> Vec<Copy> {
        self.0.iter().filter_map(|one| one.copy(head, client, pattern)).collect()
    }

    /// The mirrors, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Mirrored> {
        self.0.iter()
    }
}

impl Mirrored {
    /// A copy whose path cannot be rewritten counts as failed: its slot is dropped.
    fn copy(&self, head: &request::Parts, client: &Client<'_>, pattern: Option<&PathPattern>) -> Option<Copy> {
        let place = self.mirror.place(fastrand::u32(..EVERY))?;
        let ask = self.mirror.upstream().ask(client, head.uri.path_and_query()?, &head.headers);
        let mut head = head.clone();
        if let Some(edits) = &self.edits {
            edits.request(&mut head, pattern).ok()?;
        }
        Some(self.mirror.copy(place, head, ask))
    }
}

/// Builds the mirrors of a route; `None` for most. Unknown upstreams have already been reported.
pub(super) fn build(
    route: &config::Route,
    name: &str,
    upstreams: &BTreeMap<Arc<str>, Arc<Upstream>>,
    previous: Option<&Snapshot>,
) -> Option<Mirrors> {
    let before = previous.and_then(|previous| previous.routes.iter().find(|route| *route.facts.name == *name));
    let counts = |upstream: &str| -> Option<Arc<Counts>> {
        let same = before?.mirrors.as_ref()?.iter().find(|one| **one.mirror.upstream().name() == *upstream)?;
        Some(Arc::clone(same.mirror.counts()))
    };
    let mirrored = |config: &config::Mirror| {
        let upstream = upstreams.get(config.upstream.as_str())?;
        let mirror = Mirror::new(Arc::clone(upstream), settings(config), counts(&config.upstream));
        let rewrite = config.rewrite.as_ref().or(route.rewrite.as_ref());
        Some(Mirrored { mirror, edits: targets::request_edits(rewrite, &config.request_headers) })
    };
    let mirrors: Vec<Mirrored> = route.mirrors.iter().filter_map(mirrored).collect();
    (!mirrors.is_empty()).then_some(Mirrors(mirrors))
}

fn settings(config: &config::Mirror) -> Settings {
    Settings {
        share: share(config.percent),
        max_concurrent: config.max_concurrent as usize,
        max_buffer: config.max_buffer.as_usize(),
        timeout: config.timeout.into(),
    }
}

/// A percentage as a share of [`EVERY`]. The schema has checked that it is from 0 to 100.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // the value is clamped first
fn share(percent: f64) -> u32 {
    (percent * f64::from(EVERY) / 100.0).round().clamp(0.0, f64::from(EVERY)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_shares() {
        for (percent, expected) in [
            (0.0, 0),
            (100.0, EVERY),
            (50.0, EVERY / 2),
            (0.0001, 1),
            (33.333, 333_330),
            (-1.0, 0),
            (1e9, EVERY),
            (f64::NAN, 0),
        ] {
            assert_eq!(share(percent), expected, "{percent}");
        }
    }
}
