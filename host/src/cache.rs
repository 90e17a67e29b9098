//! The response cache (RFC 9111), for routes that ask for it: one store for all cores, bounded in bytes.
//!
//! What may be stored, how long it is fresh and whether a request may have it is decided by [`policy`]: pure, with the
//! time as an argument. An [`Entry`] is a response with the data needed to decide that again; [`answer`](Entry::answer)
//! turns it into what a request asks for: all of it, its head, a range, or 304. [`flights`] lets one request at a time
//! fetch what others wait for.
//!
//! The [`Key`] of an entry consists of the route, scheme, host, path and query, the API version, the upstream that a
//! plugin chose, and the fields with which some servers let a request refer to another URL; the fields named in `Vary`
//! distinguish the variants of a key. Nothing else in a request may change the response: an upstream whose response
//! depends on a field has to name it in `Vary`, as with any cache.
//!
//! Rejected: the crate `http-cache-semantics`. It decides about one stored response at a time and copies the head for
//! every request; it has no per-route bounds on staleness (RFC 5861), does not consider callers that were authenticated
//! in other ways than by `Authorization`, and has no ranges.

mod answer;
mod conditions;
mod directives;
mod entry;
mod flights;
mod key;
mod policy;
mod recorder;

use std::sync::Arc;

use http::HeaderMap;
use quick_cache::sync::{Cache as Shelf, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

pub use answer::unchanged;
pub use conditions::Conditions;
pub use directives::Directives;
pub use entry::{Entry, Head, hide_tags};
use flights::Flights;
pub use flights::{End, Joined, Ticket, Waiting};
use key::url_of;
pub use key::{Key, sibling};
pub use policy::{Asked, Rules, Verdict, invalidates, is_error, judge, may_serve_on_error};
pub use recorder::{Draft, record};

use crate::telemetry::counters::Counters;

/// The cached responses of all routes with a cache.
pub struct Cache {
    shelf: Shelf<Arc<str>, Arc<Variants>, Weight>,
    flights: Flights,
    counts: Counters<{ Event::ALL.len() }>,
    bytes: u64,
    /// Maximum bytes of one key: a shard takes nothing larger.
    largest: u64,
}

/// What happened to a request or an entry, for counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Hit,
    Miss,
    /// Answered with an entry that is no longer fresh.
    Stale,
    /// The upstream said that nothing has changed.
    Revalidated,
    /// The request does not use the cache.
    Bypass,
    /// Waited for the fetch of another request.
    Collapsed,
    Stored,
    Purged,
}

impl Event {
    pub const ALL: [Event; 8] = [
        Event::Hit,
        Event::Miss,
        Event::Stale,
        Event::Revalidated,
        Event::Bypass,
        Event::Collapsed,
        Event::Stored,
        Event::Purged,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Event::Hit => "hit",
            Event::Miss => "miss",
            Event::Stale => "stale",
            Event::Revalidated => "revalidated",
            Event::Bypass => "bypass",
            Event::Collapsed => "collapsed",
            Event::Stored => "stored",
            Event::Purged => "purged",
        }
    }
}

/// What is known under one key.
#[derive(Clone, Default)]
struct Variants {
    entries: Vec<Arc<Entry>>,
    /// Until then (Unix seconds) no request waits for another's fetch: the last response could not be stored.
    pass_until_s: u64,
}

/// What to purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    All,
    /// Every entry of this address, `http://host/path?query`, on any route.
    Url(String),
    /// Every entry whose response carried this tag.
    Tag(String),
}

#[derive(Clone)]
struct Weight;

impl Weighter<Arc<str>, Arc<Variants>> for Weight {
    fn weight(&self, key: &Arc<str>, variants: &Arc<Variants>) -> u64 {
        let entries: u64 = variants.entries.iter().map(|entry| entry.weight()).sum();
        entries + weight_of(key)
    }
}

/// The weight of a key without entries.
fn weight_of(key: &str) -> u64 {
    key.len() as u64 + KEY_OVERHEAD_BYTES
}

impl Cache {
    /// A cache of this many bytes for bodies, heads and the index.
    pub fn new(bytes: u64) -> Cache {
        let items = usize::try_from(bytes / TYPICAL_ENTRY_BYTES).unwrap_or(usize::MAX).clamp(64, 1 << 20);
        let shards = usize::try_from(bytes / LEAST_SHARD_BYTES).unwrap_or(usize::MAX).clamp(1, MOST_SHARDS);
        // A power of two, since the shelf would round up to one.
        let shards = 1 << shards.ilog2();
        let mut options = OptionsBuilder::new();
        options.shards(shards).estimated_items_capacity(items).weight_capacity(bytes).hot_allocation(LARGEST_OF_SHARD);
        // The build fails only without capacities, and both are set.
        let shelf = match options.build() {
            Ok(options) => {
                Shelf::with_options(options, Weight, DefaultHashBuilder::default(), DefaultLifecycle::default())
            }
            Err(_) => Shelf::with_weighter(items, bytes, Weight),
        };
        let largest = (bytes.div_ceil(shards as u64) as f64 * LARGEST_OF_SHARD) as u64;
        Cache { shelf, flights: Flights::default(), counts: Counters::default(), bytes, largest }
    }

    /// The capacity in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The entry that may answer a request with these fields, subject to the policy.
    pub fn find(&self, key: &str, fields: &HeaderMap) -> Option<Arc<Entry>> {
        let variants = self.shelf.get(key)?;
        variants.entries.iter().find(|entry| entry.suits(fields)).cloned()
    }

    /// Whether the last response under this key could not be stored, so that waiting for a fetch is useless.
    pub fn passes(&self, key: &str, now_s: u64) -> bool {
        self.shelf.get(key).is_some_and(|variants| variants.pass_until_s > now_s)
    }

    /// Either the right to fetch, or another request's fetch to wait for.
    pub fn join(self: &Arc<Self>, key: &str) -> Joined {
        self.flights.join(self, key)
    }

    /// Maximum bytes of a body under this key; `None` if the head alone is too large.
    fn room(&self, key: &str, head: &Head) -> Option<u64> {
        self.largest.checked_sub(weight_of(key) + head.weight())
    }

    /// Stores an entry, replacing the matching variant, unless it was purged while it was fetched. The oldest of the
    /// other variants are dropped if the key would exceed its maximum size.
    pub fn put(&self, ticket: Ticket, entry: Entry) {
        let mut weight = weight_of(ticket.key()) + entry.weight();
        if weight > self.largest || ticket.is_doomed() {
            return ticket.answered();
        }
        let mut entries = self.known(&ticket);
        entries.retain(|known| !entry.replaces(known));
        entries.truncate(MOST_VARIANTS - 1);
        entries.retain(|known| {
            weight += known.weight();
            weight <= self.largest
        });
        entries.insert(0, Arc::new(entry));
        self.count(Event::Stored);
        self.settle(ticket, Variants { entries, pass_until_s: 0 });
    }

    /// Records that the response under this key cannot be stored.
    pub fn pass(&self, ticket: Ticket, now_s: u64) {
        let entries = self.known(&ticket);
        self.settle(ticket, Variants { entries, pass_until_s: now_s + PASS_SECONDS });
    }

    /// The entries that already exist under the key of a fetch.
    fn known(&self, ticket: &Ticket) -> Vec<Arc<Entry>> {
        self.shelf.peek(&**ticket.key()).map(|variants| variants.entries.clone()).unwrap_or_default()
    }

    /// Replaces what is known under the key, and ends the fetch.
    fn settle(&self, ticket: Ticket, variants: Variants) {
        self.shelf.insert(ticket.key().clone(), Arc::new(variants));
        // What a purge has removed since the entries were read must not come back.
        if ticket.is_doomed() {
            self.shelf.remove(ticket.key());
        }
        ticket.answered();
    }

    /// Drops a key, because an unsafe method has changed its resource.
    pub fn invalidate(&self, key: &str) {
        self.flights.doom_one(key);
        self.shelf.remove(key);
    }

    /// Drops entries, and returns how many. Scans the whole cache: never call it on a data core.
    pub fn purge(&self, what: &Purge) -> u64 {
        self.flights.doom(|key| match what {
            Purge::Url(url) => url_of(key) == url,
            Purge::All | Purge::Tag(_) => true,
        });
        let mut purged = 0;
        for (key, variants) in self.shelf.iter() {
            let goes = |entry: &Arc<Entry>| match what {
                Purge::All => true,
                Purge::Url(url) => url_of(&key) == url,
                Purge::Tag(tag) => entry.has_tag(tag),
            };
            let count = variants.entries.iter().filter(|entry| goes(entry)).count() as u64;
            if count > 0 {
                // All variants of the address are dropped: they are one resource.
                self.shelf.remove(&key);
                purged += count;
            }
        }
        self.counts.add(Event::Purged as usize, purged);
        purged
    }

    pub fn count(&self, event: Event) {
        self.counts.add(event as usize, 1);
    }

    /// How often the event happened, over all cores.
    pub fn counted(&self, event: Event) -> u64 {
        self.counts.sum(event as usize)
    }

    /// Number of keys.
    pub fn keys(&self) -> usize {
        self.shelf.len()
    }

    /// Bytes in use.
    pub fn used_bytes(&self) -> u64 {
        self.shelf.weight()
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// Minimum bytes of a shard. Each shard has its own lock and share of the memory, and holds nothing larger than that.
const LEAST_SHARD_BYTES: u64 = 8 << 20;
/// The fraction of a shard that one key may take: what the shelf reserves for frequently used keys.
const LARGEST_OF_SHARD: f64 = 0.97;
const MOST_SHARDS: usize = 16;
/// Maximum variants of one key; the oldest is dropped first.
const MOST_VARIANTS: usize = 32;
/// Bytes of a key besides its text and its entries.
const KEY_OVERHEAD_BYTES: u64 = 200;
/// Estimate, for the size of the index.
const TYPICAL_ENTRY_BYTES: u64 = 16 << 10;
/// For how long no request waits for a fetch after a response that could not be stored.
const PASS_SECONDS: u64 = 10;

#[cfg(test)]
mod tests;
