//! What may be stored, how long it is fresh, and who may have it (RFC 9111 §3 and §4, RFC 5861).

use std::sync::Arc;
use std::time::Duration;

use http::header::{AGE, AUTHORIZATION, COOKIE, DATE, EXPIRES, HeaderMap, LAST_MODIFIED, SET_COOKIE, VARY};
use http::{HeaderName, Method, StatusCode};

use super::directives::{Directives, LONGEST_SECONDS, seconds};
use super::entry::Entry;

/// How a route remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The longest body that is stored, in bytes.
    pub max_body: usize,
    /// How long a request waits for another's fetch of the same.
    pub wait: Duration,
    /// How long a response is fresh that does not say; none leaves it to the heuristic.
    pub default_ttl: Option<Duration>,
    /// Where the response does not say.
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    /// Whether what clients say in `Cache-Control` counts.
    pub client_directives: bool,
    /// Whether cookies keep nothing from being stored: neither those of a request nor those that a response sets.
    pub cookies: bool,
    /// The names of those by which the gateway itself leads clients to their endpoints: they say nothing of who asks.
    pub own_cookies: Arc<[Box<str>]>,
    /// Whether responses tell by `Cache-Status` what the cache did.
    pub cache_status: bool,
}

/// A request, as far as the cache has to know it.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub directives: Directives,
    /// The caller may be known to the upstream, by whatever: what it is answered is not for others, unless the response
    /// says so.
    pub is_authorised: bool,
}

impl Asked {
    /// `is_proved`: a plugin or the TLS handshake has proved who is calling.
    pub fn of(headers: &HeaderMap, rules: &Rules, is_proved: bool) -> Asked {
        let directives = if rules.client_directives { Directives::of_request(headers) } else { Directives::default() };
        let has_session = !rules.cookies && has_cookie(headers, &rules.own_cookies);
        Asked { directives, is_authorised: is_proved || has_session || headers.contains_key(AUTHORIZATION) }
    }
}

/// Whether there is a cookie beside the gateway's own.
fn has_cookie(headers: &HeaderMap, own: &[Box<str>]) -> bool {
    let is_own = |pair: &[u8]| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        own.iter().any(|own| own.as_bytes() == name)
    };
    let mut lines = headers.get_all(COOKIE).iter();
    lines.any(|line| !line.as_bytes().split(|byte| *byte == b';').all(is_own))
}

/// How long a response is good, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// How old it was when it came.
    pub age: u64,
    pub fresh: u64,
    pub stale_while_revalidate: u64,
    pub stale_if_error: u64,
    /// Nobody may have it stale, whatever he says.
    pub never_stale: bool,
    /// The upstream is asked before each use.
    pub always_ask: bool,
}

/// Whether a response that `says` this may be stored, and how long it is good then. `now_s` is when it came, `delay_s` how
/// long it took.
pub(super) fn life(
    asked: &Asked,
    rules: &Rules,
    says: &Directives,
    status: StatusCode,
    headers: &HeaderMap,
    now_s: u64,
    delay_s: u64,
) -> Option<Life> {
    let is_understood = UNDERSTOOD.contains(&status.as_u16());
    let no_store = says.no_store && !(says.must_understand && is_understood);
    if no_store
        || says.private
        || asked.directives.no_store
        || status.is_informational()
        || status == StatusCode::NOT_MODIFIED
        || status == StatusCode::PARTIAL_CONTENT
        || (says.must_understand && !is_understood)
        || varies_by_anything(headers)
    {
        return None;
    }
    let is_shared = says.public || says.s_maxage.is_some();
    if asked.is_authorised && !is_shared && !says.must_revalidate {
        return None;
    }
    // Also not where it says `public`: that is often said of a whole site, by somebody who does not know of the session.
    if headers.contains_key(SET_COOKIE) && !rules.cookies && !says.fields.contains(&SET_COOKIE) {
        return None;
    }

    let date = date(headers, &DATE).unwrap_or(now_s);
    let heuristic = HEURISTIC.contains(&status.as_u16()) || says.public;
    let explicit = says.s_maxage.or(says.max_age).or_else(|| {
        let expires = headers.get(EXPIRES)?;
        // One that cannot be read has passed (RFC 9111 §5.3).
        let expires = expires.to_str().ok().and_then(parse_date);
        Some(expires.map_or(0, |expires| expires.saturating_sub(date)))
    });
    let fresh = match explicit {
        Some(fresh) => fresh,
        None if !heuristic => return None,
        None => match rules.default_ttl {
            Some(ttl) => ttl.as_secs(),
            None => guess(headers, date),
        },
    };
    let has_validator = headers.contains_key(http::header::ETAG) || headers.contains_key(LAST_MODIFIED);
    let config = |own: Option<u64>, default: Option<Duration>| own.or(default.map(|it| it.as_secs())).unwrap_or(0);
    let life = Life {
        age: age(headers, date, now_s, delay_s),
        fresh: fresh.min(LONGEST_SECONDS),
        stale_while_revalidate: config(says.stale_while_revalidate, rules.stale_while_revalidate),
        stale_if_error: config(says.stale_if_error, rules.stale_if_error),
        never_stale: says.must_revalidate || says.proxy_revalidate || says.s_maxage.is_some() || says.no_cache,
        always_ask: says.no_cache,
    };
    // What can neither be used nor be asked about would only lie around.
    let is_of_use = has_validator
        || (!life.always_ask && (life.fresh > life.age || life.stale_while_revalidate > 0 || life.stale_if_error > 0));
    is_of_use.then_some(life)
}

/// What a request gets of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It as it is.
    Fresh,
    /// It as it is, while somebody asks the upstream.
    Stale,
    /// It as it is, because the request says that it may be stale.
    Tolerated,
    /// The upstream has to be asked first.
    Ask,
}

/// Decides about an entry that suits the request.
pub fn judge(entry: &Entry, asked: &Directives, now_s: u64) -> Verdict {
    let life = entry.life();
    let age = entry.age(now_s);
    let is_too_old = asked.max_age.is_some_and(|most| age > most);
    let is_too_short = asked.min_fresh.is_some_and(|least| life.fresh.saturating_sub(age) < least);
    if life.always_ask || asked.no_cache || is_too_old || is_too_short {
        return Verdict::Ask;
    }
    if age < life.fresh {
        return Verdict::Fresh;
    }
    let staleness = age - life.fresh;
    if life.never_stale {
        return Verdict::Ask;
    }
    if asked.max_stale.is_some_and(|most| staleness <= most) {
        return Verdict::Tolerated;
    }
    if staleness < life.stale_while_revalidate { Verdict::Stale } else { Verdict::Ask }
}

/// Whether an entry may stand in for an upstream that failed.
pub fn may_serve_on_error(entry: &Entry, asked: &Directives, now_s: u64) -> bool {
    let life = entry.life();
    let staleness = entry.age(now_s).saturating_sub(life.fresh);
    let most = asked.stale_if_error.map_or(life.stale_if_error, |asked| asked.max(life.stale_if_error));
    !life.never_stale && !life.always_ask && !asked.no_cache && staleness < most
}

/// The statuses that mean an error of the upstream (RFC 5861 §4).
pub fn is_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Whether a method that is not safe has changed what the address stands for (RFC 9111 §4.4).
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    !method.is_safe() && (status.is_success() || status.is_redirection())
}

/// How old a response is that has just come (RFC 9111 §4.2.3).
fn age(headers: &HeaderMap, date: u64, now_s: u64, delay_s: u64) -> u64 {
    let mut lines = headers.get_all(AGE).iter();
    let said = match (lines.next().map(|value| value.as_bytes().trim_ascii()), lines.next()) {
        (None, _) => 0,
        (Some(age), None) if !age.is_empty() && age.iter().all(u8::is_ascii_digit) => seconds(age),
        // What cannot be read must not make it look young.
        _ => LONGEST_SECONDS,
    };
    let corrected = said.saturating_add(delay_s);
    now_s.saturating_sub(date).max(corrected)
}

/// A tenth of the time for which it had not changed (RFC 9111 §4.2.2).
fn guess(headers: &HeaderMap, date_s: u64) -> u64 {
    let unchanged = date(headers, &LAST_MODIFIED).map_or(0, |modified| date_s.saturating_sub(modified));
    (unchanged / 10).min(LONGEST_GUESS.as_secs())
}

fn varies_by_anything(headers: &HeaderMap) -> bool {
    headers
        .get_all(VARY)
        .iter()
        .any(|value| value.as_bytes().split(|byte| *byte == b',').any(|it| it.trim_ascii() == b"*"))
}

pub(super) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    parse_date(headers.get(name)?.to_str().ok()?)
}

/// Unix seconds.
pub(super) fn parse_date(text: &str) -> Option<u64> {
    let time = httpdate::parse_http_date(text.trim()).ok()?;
    time.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// What may be stored without saying for how long (RFC 9110 §15.1), without 206.
const HEURISTIC: [u16; 11] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];
/// The statuses whose rules about caching this cache knows.
const UNDERSTOOD: [u16; 22] =
    [200, 201, 202, 203, 204, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 410, 414, 500, 501, 502, 503];
/// Nothing is guessed to be good for longer.
const LONGEST_GUESS: Duration = Duration::from_secs(24 * 60 * 60);
