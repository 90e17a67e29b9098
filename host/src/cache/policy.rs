//! What may be stored, how long it is fresh, and who may have it (RFC 9111 §3 and §4, RFC 5861).

use std::sync::Arc;
use std::time::Duration;

use http::header::{AGE, AUTHORIZATION, COOKIE, DATE, EXPIRES, HeaderMap, LAST_MODIFIED, SET_COOKIE, VARY};
use http::{HeaderName, Method, StatusCode};

use super::directives::{Directives, LONGEST_SECONDS, seconds};
use super::entry::Entry;

/// The cache rules of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Maximum bytes of a stored body.
    pub max_body: usize,
    /// How long a request waits for another request's fetch.
    pub wait: Duration,
    /// How long a response is fresh that does not say; `None` leaves it to the heuristic.
    pub default_ttl: Option<Duration>,
    /// Used if the response does not say.
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    /// Whether the clients' `Cache-Control` is obeyed.
    pub client_directives: bool,
    /// Whether responses are stored regardless of cookies, those of a request as well as those that a response sets.
    pub cookies: bool,
    /// Names of the gateway's own cookies for sticky sessions: they do not identify the caller.
    pub own_cookies: Arc<[Box<str>]>,
    /// Whether responses report in `Cache-Status` what the cache did.
    pub cache_status: bool,
}

/// What the cache has to know about a request.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub directives: Directives,
    /// The upstream may know who the caller is, by whatever means: then the response is not for others, unless it says
    /// so.
    pub is_authorised: bool,
}

impl Asked {
    /// `is_proved`: a plugin or the TLS handshake has authenticated the caller.
    pub fn of(headers: &HeaderMap, rules: &Rules, is_proved: bool) -> Asked {
        let directives = if rules.client_directives { Directives::of_request(headers) } else { Directives::default() };
        let has_session = !rules.cookies && has_cookie(headers, &rules.own_cookies);
        Asked { directives, is_authorised: is_proved || has_session || headers.contains_key(AUTHORIZATION) }
    }
}

/// Whether there is a cookie other than the gateway's own.
fn has_cookie(headers: &HeaderMap, own: &[Box<str>]) -> bool {
    let is_own = |pair: &[u8]| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        own.iter().any(|own| own.as_bytes() == name)
    };
    let mut lines = headers.get_all(COOKIE).iter();
    lines.any(|line| !line.as_bytes().split(|byte| *byte == b';').all(is_own))
}

/// How long a response may be used, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// Its age when it arrived.
    pub age: u64,
    pub fresh: u64,
    pub stale_while_revalidate: u64,
    pub stale_if_error: u64,
    /// It must never be served stale, even if the client allows it.
    pub never_stale: bool,
    /// The upstream has to be asked before each use.
    pub always_ask: bool,
}

/// Whether a response that `says` this may be stored, and for how long. `now_s` is when it arrived, `delay_s` how long
/// it took.
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
    // Not even if it says `public`: that is often set for a whole site, by somebody who does not know about the
    // session.
    if headers.contains_key(SET_COOKIE) && !rules.cookies && !says.fields.contains(&SET_COOKIE) {
        return None;
    }

    let date = date(headers, &DATE).unwrap_or(now_s);
    let heuristic = HEURISTIC.contains(&status.as_u16()) || says.public;
    let explicit = says.s_maxage.or(says.max_age).or_else(|| {
        let expires = headers.get(EXPIRES)?;
        // An invalid date counts as past (RFC 9111 §5.3).
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
    // An entry that can neither be used nor revalidated would only waste memory.
    let is_of_use = has_validator
        || (!life.always_ask && (life.fresh > life.age || life.stale_while_revalidate > 0 || life.stale_if_error > 0));
    is_of_use.then_some(life)
}

/// How an entry is used for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Serve it.
    Fresh,
    /// Serve it, and ask the upstream meanwhile.
    Stale,
    /// Serve it, because the request accepts stale responses.
    Tolerated,
    /// Ask the upstream first.
    Ask,
}

/// Decides how to use an entry that matches the request.
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

/// Whether an entry may be served because the upstream failed.
pub fn may_serve_on_error(entry: &Entry, asked: &Directives, now_s: u64) -> bool {
    let life = entry.life();
    let staleness = entry.age(now_s).saturating_sub(life.fresh);
    let most = asked.stale_if_error.map_or(life.stale_if_error, |asked| asked.max(life.stale_if_error));
    !life.never_stale && !life.always_ask && !asked.no_cache && staleness < most
}

/// Statuses that count as an error of the upstream (RFC 5861 §4).
pub fn is_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Whether an unsafe method has changed the resource (RFC 9111 §4.4).
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    !method.is_safe() && (status.is_success() || status.is_redirection())
}

/// The age of a response that has just arrived (RFC 9111 §4.2.3).
fn age(headers: &HeaderMap, date: u64, now_s: u64, delay_s: u64) -> u64 {
    let mut lines = headers.get_all(AGE).iter();
    let said = match (lines.next().map(|value| value.as_bytes().trim_ascii()), lines.next()) {
        (None, _) => 0,
        (Some(age), None) if !age.is_empty() && age.iter().all(u8::is_ascii_digit) => seconds(age),
        // An invalid value must not make it look young.
        _ => LONGEST_SECONDS,
    };
    let corrected = said.saturating_add(delay_s);
    now_s.saturating_sub(date).max(corrected)
}

/// Heuristic freshness: a tenth of the time since it was last modified (RFC 9111 §4.2.2).
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

/// Statuses that may be stored without explicit freshness (RFC 9110 §15.1), except 206.
const HEURISTIC: [u16; 11] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];
/// Statuses whose caching rules this cache implements.
const UNDERSTOOD: [u16; 22] =
    [200, 201, 202, 203, 204, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 410, 414, 500, 501, 502, 503];
/// Maximum of the heuristic.
const LONGEST_GUESS: Duration = Duration::from_secs(24 * 60 * 60);
