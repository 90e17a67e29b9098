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

/// The responses of all routes that remember them.
pub struct Cache {
    shelf: Shelf<Arc<str>, Arc<Variants>, Weight>,
    flights: Flights,
    counts: Counters<{ Event::ALL.len() }>,
    bytes: u64,
    /// The most that one key may take: a shard takes nothing larger.
    largest: u64,
}

/// What a request met, and what became of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Hit,
    Miss,
    /// Answered with what is no longer fresh.
    Stale,
    /// The upstream said that nothing has changed.
    Revalidated,
    /// Not for the cache at all.
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
    /// Until then (Unix seconds) nobody waits for another's fetch: what came last could not be stored.
    pass_until_s: u64,
}

/// What a purge is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    All,
    /// Every entry of this address, `http://host/path?query`, on any route.
    Url(String),
    /// Every entry whose response named this tag.
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

/// What a key takes before there is an entry.
fn weight_of(key: &str) -> u64 {
    key.len() as u64 + KEY_OVERHEAD_BYTES
}

impl Cache {
    /// A cache that holds so many bytes: bodies, heads and what they are found by.
    pub fn new(bytes: u64) -> Cache {
        let items = usize::try_from(bytes / TYPICAL_ENTRY_BYTES).unwrap_or(usize::MAX).clamp(64, 1 << 20);
        let shards = usize::try_from(bytes / LEAST_SHARD_BYTES).unwrap_or(usize::MAX).clamp(1, MOST_SHARDS);
        // A power of two, since the shelf would go up to the next one.
        let shards = 1 << shards.ilog2();
        let mut options = OptionsBuilder::new();
        options.shards(shards).estimated_items_capacity(items).weight_capacity(bytes).hot_allocation(LARGEST_OF_SHARD);
        // Both that can be missing are there.
        let shelf = match options.build() {
            Ok(options) => {
                Shelf::with_options(options, Weight, DefaultHashBuilder::default(), DefaultLifecycle::default())
            }
            Err(_) => Shelf::with_weighter(items, bytes, Weight),
        };
        let largest = (bytes.div_ceil(shards as u64) as f64 * LARGEST_OF_SHARD) as u64;
        Cache { shelf, flights: Flights::default(), counts: Counters::default(), bytes, largest }
    }

    /// What it was made for.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The entry that a request with these fields may be answered with, if the policy lets it.
    pub fn find(&self, key: &str, fields: &HeaderMap) -> Option<Arc<Entry>> {
        let variants = self.shelf.get(key)?;
        variants.entries.iter().find(|entry| entry.suits(fields)).cloned()
    }

    /// Whether what came last under this key could not be stored, so that waiting for it makes no sense.
    pub fn passes(&self, key: &str, now_s: u64) -> bool {
        self.shelf.get(key).is_some_and(|variants| variants.pass_until_s > now_s)
    }

    /// The turn to fetch, or the end of another's.
    pub fn join(self: &Arc<Self>, key: &str) -> Joined {
        self.flights.join(self, key)
    }

    /// How long the body of a response may be that is kept under this key; `None` where its head alone is too long.
    fn room(&self, key: &str, head: &Head) -> Option<u64> {
        self.largest.checked_sub(weight_of(key) + head.weight())
    }

    /// Keeps an entry in the place of the variant that it suits, unless it was purged while it was fetched. The oldest of
    /// the other variants go where a key would take more than it may.
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

    /// Remembers that what came under this key cannot be stored.
    pub fn pass(&self, ticket: Ticket, now_s: u64) {
        let entries = self.known(&ticket);
        self.settle(ticket, Variants { entries, pass_until_s: now_s + PASS_SECONDS });
    }

    /// What is there already under the key of a fetch.
    fn known(&self, ticket: &Ticket) -> Vec<Arc<Entry>> {
        self.shelf.peek(&**ticket.key()).map(|variants| variants.entries.clone()).unwrap_or_default()
    }

    /// Puts what is known after a fetch in the place of what was, and ends the fetch.
    fn settle(&self, ticket: Ticket, variants: Variants) {
        self.shelf.insert(ticket.key().clone(), Arc::new(variants));
        // What a purge has taken away since it was read must not come back.
        if ticket.is_doomed() {
            self.shelf.remove(ticket.key());
        }
        ticket.answered();
    }

    /// Forgets a key: a method that is not safe has changed what it stands for.
    pub fn invalidate(&self, key: &str) {
        self.flights.doom_one(key);
        self.shelf.remove(key);
    }

    /// Forgets entries; the answer is how many. Looks at all of them: never call it on a data core.
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
                // All variants of the address go: it is one resource.
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

    /// How often something happened, over all cores.
    pub fn counted(&self, event: Event) -> u64 {
        self.counts.sum(event as usize)
    }

    /// Keys held now.
    pub fn keys(&self) -> usize {
        self.shelf.len()
    }

    /// Bytes held now.
    pub fn used_bytes(&self) -> u64 {
        self.shelf.weight()
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// A shard is a lock of its own with its share of the memory, and holds nothing larger than that.
const LEAST_SHARD_BYTES: u64 = 8 << 20;
/// The part of a shard that one key may take: what the shelf itself gives to what is used often.
const LARGEST_OF_SHARD: f64 = 0.97;
const MOST_SHARDS: usize = 16;
/// Variants of one key; the oldest goes first.
const MOST_VARIANTS: usize = 32;
/// What a key takes beside its text and its entries.
const KEY_OVERHEAD_BYTES: u64 = 200;
/// For the size of the index.
const TYPICAL_ENTRY_BYTES: u64 = 16 << 10;
/// How long nobody waits for what could not be stored.
const PASS_SECONDS: u64 = 10;

#[cfg(test)]
mod tests;
