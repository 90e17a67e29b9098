//! A stored response, and what distinguishes it from the other variants of its key.

use bytes::Bytes;
use http::StatusCode;
use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, LAST_MODIFIED, VARY,
};

use super::directives::Directives;
use super::policy::{self, Asked, Life, Rules};

/// A stored response.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// What the request said in the fields that `Vary` names; empty for one that it did not have.
    vary: Box<[(HeaderName, Box<[u8]>)]>,
    tags: Box<[Box<str>]>,
    life: Life,
    /// Unix seconds.
    came_s: u64,
}

/// A response that is about to be stored: all but its body.
#[derive(Clone, Debug)]
pub struct Head(Entry);

impl Head {
    /// `fields` are the request's; `now_s` is when the response came, `delay_s` how long it took. None where it may not
    /// be stored.
    pub fn of(
        asked: &Asked,
        rules: &Rules,
        fields: &HeaderMap,
        status: StatusCode,
        headers: &HeaderMap,
        now_s: u64,
        delay_s: u64,
    ) -> Option<Head> {
        let says = Directives::of_response(headers);
        let life = policy::life(asked, rules, &says, status, headers, now_s, delay_s)?;
        let mut kept = headers.clone();
        for name in says.fields {
            kept.remove(name);
        }
        kept.remove(AGE);
        let entry = Entry {
            status,
            body: Bytes::new(),
            vary: vary(fields, headers),
            tags: take_tags(&mut kept),
            headers: kept,
            life,
            came_s: now_s,
        };
        Some(Head(entry))
    }

    pub fn with_body(self, body: Bytes) -> Entry {
        Entry { body, ..self.0 }
    }

    /// Bytes that the entry takes without its body.
    pub(super) fn weight(&self) -> u64 {
        self.0.weight()
    }

    /// Unix seconds.
    pub(super) fn came_s(&self) -> u64 {
        self.0.came_s
    }
}

impl Entry {
    /// Whether a request with these fields may be answered with it.
    pub(super) fn suits(&self, fields: &HeaderMap) -> bool {
        self.vary.iter().all(|(name, value)| said(fields, name).eq(value.iter().copied()))
    }

    /// Whether requests that had the other one have this one now.
    pub(super) fn replaces(&self, other: &Entry) -> bool {
        self.vary == other.vary
    }

    pub(super) fn life(&self) -> Life {
        self.life
    }

    /// Seconds since the upstream made it.
    pub fn age(&self, now_s: u64) -> u64 {
        self.life.age.saturating_add(now_s.saturating_sub(self.came_s))
    }

    /// Seconds that it is still fresh for; below zero it is stale.
    pub fn ttl(&self, now_s: u64) -> i64 {
        i64::try_from(self.life.fresh).unwrap_or(i64::MAX).saturating_sub_unsigned(self.age(now_s))
    }

    /// Makes a request ask whether this one is still good (RFC 9110 §13.1).
    pub fn ask(&self, fields: &mut HeaderMap) {
        for (validator, question) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
            if let Some(value) = self.headers.get(validator) {
                fields.insert(question, value.clone());
            }
        }
    }

    /// This one as the news that nothing has changed leaves it (RFC 9111 §3.2). None where that is news about another.
    pub fn refreshed(&self, asked: &Asked, rules: &Rules, news: &HeaderMap, now_s: u64, delay_s: u64) -> Option<Entry> {
        let strong = |headers: &HeaderMap| headers.get(ETAG).cloned();
        if let (Some(own), Some(new)) = (strong(&self.headers), strong(news))
            && weak(own.as_bytes()) != weak(new.as_bytes())
        {
            return None;
        }
        let mut headers = self.headers.clone();
        for name in news.keys() {
            if UNTOUCHED.contains(name) {
                continue;
            }
            headers.remove(name);
            for value in news.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        let says = Directives::of_response(&headers);
        let life = policy::life(asked, rules, &says, self.status, &headers, now_s, delay_s)?;
        for name in says.fields {
            headers.remove(name);
        }
        headers.remove(AGE);
        let tags = take_tags(&mut headers);
        let tags = if tags.is_empty() { self.tags.clone() } else { tags };
        Some(Entry { headers, life, tags, came_s: now_s, ..self.clone() })
    }

    pub(super) fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|known| **known == *tag)
    }

    /// Bytes that it takes.
    pub(super) fn weight(&self) -> u64 {
        let fields: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        let vary: usize = self.vary.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 16).sum();
        (self.body.len() + fields + vary + tags + ENTRY_OVERHEAD_BYTES) as u64
    }
}

/// The request's side of the response's `Vary`.
fn vary(fields: &HeaderMap, response: &HeaderMap) -> Box<[(HeaderName, Box<[u8]>)]> {
    let lists = response.get_all(VARY).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let mut names: Vec<HeaderName> = lists.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect();
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    names.into_iter().map(|name| (name.clone(), said(fields, &name).collect::<Box<[u8]>>())).collect()
}

/// All values of a field in one, without space around commas, which means nothing (RFC 9111 §4.1).
fn said(fields: &HeaderMap, name: &HeaderName) -> impl Iterator<Item = u8> {
    // One byte that no value has tells an empty field from none.
    let is_there = fields.contains_key(name).then_some(0_u8);
    let parts = fields.get_all(name).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    is_there.into_iter().chain(parts.flat_map(|part| part.trim_ascii().iter().copied().chain([b','])))
}

/// The tags by which it is purged, which are nobody's business but the cache's.
fn take_tags(headers: &mut HeaderMap) -> Box<[Box<str>]> {
    let mut tags = Vec::new();
    for (name, separators) in [(CACHE_TAG, &[',', ' '][..]), (SURROGATE_KEY, &[' '][..])] {
        for value in headers.get_all(&name) {
            let words = value.to_str().unwrap_or_default().split(separators).map(str::trim);
            tags.extend(words.filter(|word| !word.is_empty()).map(Box::from));
        }
        headers.remove(name);
    }
    tags.truncate(MOST_TAGS);
    tags.into()
}

/// An entity tag as weak comparison sees it (RFC 9110 §8.8.3.2).
pub(super) fn weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Takes away what is only for the cache, from a response that is not stored.
pub fn hide_tags(headers: &mut HeaderMap) {
    headers.remove(CACHE_TAG);
    headers.remove(SURROGATE_KEY);
}

/// What is about the body, which stays what it was (RFC 9111 §3.2).
static UNTOUCHED: [HeaderName; 5] =
    [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE, HeaderName::from_static("content-md5"), ETAG];

const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// What an entry takes beside its parts.
const ENTRY_OVERHEAD_BYTES: usize = 500;
/// Tags of one entry; more are not kept.
const MOST_TAGS: usize = 1000;
