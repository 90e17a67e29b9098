//! Endpoints from DNS discovery: resolved addresses become members.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::Upstream;
use super::endpoint::Endpoint;
use super::members::{Held, Members};
use super::settings::{Server, Settings};
use crate::discovery::{Found, Query};

/// The latest discovery results by name.
pub(super) type Finds = BTreeMap<Query, Vec<Found>>;

/// The current members.
#[allow(clippy::large_enum_variant)] // one per upstream, and the common variant should be inline
pub(super) enum Current {
    /// Only the servers of the settings; they never change.
    Fixed(Members),
    /// The servers of the settings and those that discovery found last.
    Discovered { members: ArcSwap<Members>, finds: Mutex<Finds> },
}

impl Current {
    /// Starts with what was found for the same names before.
    pub(super) fn new(settings: &Settings, previous: Option<&Arc<Upstream>>) -> Self {
        let known = previous.map_or_else(Vec::new, |previous| previous.endpoints());
        if settings.names.is_empty() {
            return Current::Fixed(Members::new(&settings.endpoints, settings, &known));
        }
        let mut finds = previous.map_or_else(Finds::new, |previous| previous.finds());
        finds.retain(|query, _| settings.names.iter().any(|named| named.query == *query));
        let members = members(settings, &finds, &known);
        Current::Discovered { members: ArcSwap::from_pointee(members), finds: Mutex::new(finds) }
    }

    #[inline]
    pub(super) fn held(&self) -> Held<'_> {
        match self {
            Current::Fixed(members) => Held::Fixed(members),
            Current::Discovered { members, .. } => Held::Current(members.load_full()),
        }
    }
}

impl Upstream {
    /// The names that discovery has to resolve.
    pub fn queries(&self) -> impl Iterator<Item = &Query> {
        self.settings.names.iter().map(|named| &named.query)
    }

    /// The last result for a name; `None` if there was none yet.
    pub fn found(&self, query: &Query) -> Option<Vec<Found>> {
        self.finds().remove(query)
    }

    /// Applies new discovery results. Endpoints that remain keep their connections, counters and health; the others end
    /// with their last request.
    pub fn discovered(&self, news: impl IntoIterator<Item = (Query, Vec<Found>)>) {
        let Current::Discovered { members: current, finds } = &self.members else { return };
        // Held to the end, so that no update is lost when two names change at once.
        let mut finds = finds.lock().unwrap_or_else(PoisonError::into_inner);
        finds.extend(news);
        current.store(Arc::new(members(&self.settings, &finds, &self.endpoints())));
        self.changes.send_replace(());
    }

    fn finds(&self) -> Finds {
        match &self.members {
            Current::Fixed(_) => Finds::new(),
            Current::Discovered { finds, .. } => finds.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

fn members(settings: &Settings, finds: &Finds, known: &[Arc<Endpoint>]) -> Members {
    Members::new(&servers(settings, finds), settings, known)
}

/// The servers of the settings and those that were found for its names, without duplicate addresses.
fn servers(settings: &Settings, finds: &Finds) -> Vec<Server> {
    let found = settings.names.iter().flat_map(|named| {
        let found = finds.get(&named.query).map_or(&[][..], Vec::as_slice);
        found.iter().map(|found| Server {
            address: found.into(),
            weight: named.weight.saturating_mul(found.weight),
            priority: named.priority.saturating_add(found.priority),
        })
    });
    let mut seen = HashSet::new();
    let all = settings.endpoints.iter().cloned().chain(found);
    all.filter(|server| seen.insert(server.address.as_str().to_owned())).take(MOST).collect()
}

/// Maximum endpoints of one upstream, over all of its names.
const MOST: usize = 1000;
