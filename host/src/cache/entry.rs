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
    /// The request's values of the fields that `Vary` names; empty for a missing field.
    vary: Box<[(HeaderName, Box<[u8]>)]>,
    tags: Box<[Box<str>]>,
    life: Life,
    /// When it arrived, in Unix seconds.
    came_s: u64,
}

/// A response that is about to be stored, without its body.
#[derive(Clone, Debug)]
pub struct Head(Entry);

impl Head {
    /// `fields` are the request's; `now_s` is when the response arrived, `delay_s` how long it took. `None` if it must
    /// not be stored.
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

    /// Bytes of the entry without its body.
    pub(super) fn weight(&self) -> u64 {
        self.0.weight()
    }

    /// When it arrived, in Unix seconds.
    pub(super) fn came_s(&self) -> u64 {
        self.0.came_s
    }
}

impl Entry {
    /// Whether it may answer a request with these fields.
    pub(super) fn suits(&self, fields: &HeaderMap) -> bool {
        self.vary.iter().all(|(name, value)| said(fields, name).eq(value.iter().copied()))
    }

    /// Whether it is the same variant as the other entry and takes its place.
    pub(super) fn replaces(&self, other: &Entry) -> bool {
        self.vary == other.vary
    }

    pub(super) fn life(&self) -> Life {
        self.life
    }

    /// Seconds since the upstream generated it.
    pub fn age(&self, now_s: u64) -> u64 {
        self.life.age.saturating_add(now_s.saturating_sub(self.came_s))
    }

    /// Seconds for which it is still fresh; negative if it is stale.
    pub fn ttl(&self, now_s: u64) -> i64 {
        i64::try_from(self.life.fresh).unwrap_or(i64::MAX).saturating_sub_unsigned(self.age(now_s))
    }

    /// Adds the conditions with which a request asks whether this entry is still valid (RFC 9110 §13.1).
    pub fn ask(&self, fields: &mut HeaderMap) {
        for (validator, question) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
            if let Some(value) = self.headers.get(validator) {
                fields.insert(question, value.clone());
            }
        }
    }

    /// The entry updated by a 304 response (RFC 9111 §3.2). `None` if that response is about a different entry.
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

    /// Bytes of the entry.
    pub(super) fn weight(&self) -> u64 {
        let fields: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        let vary: usize = self.vary.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 16).sum();
        (self.body.len() + fields + vary + tags + ENTRY_OVERHEAD_BYTES) as u64
    }
}

/// The request's values of the fields that the response's `Vary` names.
fn vary(fields: &HeaderMap, response: &HeaderMap) -> Box<[(HeaderName, Box<[u8]>)]> {
    let lists = response.get_all(VARY).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let mut names: Vec<HeaderName> = lists.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect();
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    names.into_iter().map(|name| (name.clone(), said(fields, &name).collect::<Box<[u8]>>())).collect()
}

/// All values of a field in one, without the insignificant space around commas (RFC 9111 §4.1).
fn said(fields: &HeaderMap, name: &HeaderName) -> impl Iterator<Item = u8> {
    // A byte that no value contains distinguishes an empty field from a missing one.
    let is_there = fields.contains_key(name).then_some(0_u8);
    let parts = fields.get_all(name).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    is_there.into_iter().chain(parts.flat_map(|part| part.trim_ascii().iter().copied().chain([b','])))
}

/// Removes the purge tags from the fields, since they are only for the cache, and returns them.
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

/// An entity tag for weak comparison (RFC 9110 §8.8.3.2).
pub(super) fn weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Removes what is only for the cache from a response that is not stored.
pub fn hide_tags(headers: &mut HeaderMap) {
    headers.remove(CACHE_TAG);
    headers.remove(SURROGATE_KEY);
}

/// Fields that describe the body, which does not change (RFC 9111 §3.2).
static UNTOUCHED: [HeaderName; 5] =
    [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE, HeaderName::from_static("content-md5"), ETAG];

const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// Bytes of an entry besides its parts.
const ENTRY_OVERHEAD_BYTES: usize = 500;
/// Maximum tags of one entry; further ones are ignored.
const MOST_TAGS: usize = 1000;
