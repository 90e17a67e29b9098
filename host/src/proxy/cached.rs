//! The part of the request path that goes through the cache, on routes that have one: between the request hooks and the
//! upstream. What comes out is a response like any other, and the response hooks run on it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::Error;
use super::refresh::refresh;
use super::tail::Tail;
use super::{Matched, forward};
use crate::body::Body;
use crate::cache::{self, Asked, Cache, Conditions, Draft, End, Entry, Event, Head, Joined, Rules, Ticket, Verdict};
use crate::exchange::Exchange;
use crate::snapshot::Route;

/// A request's route, and the rules by which it is answered from memory.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub matched: Matched<'a>,
    pub rules: &'a Rules,
}

/// The request's way through the cache, and to the upstream where it has to be asked.
pub(super) async fn through(way: Way<'_>, tail: &mut Tail, body: Body) -> Result<Body, Error> {
    let exchange = &tail.exchange;
    let certificate = exchange.source.tls.as_ref().and_then(|peer| peer.client.as_ref());
    let is_proved = exchange.identity.is_some() || certificate.is_some();
    let asked = Asked::of(&exchange.request.headers, way.rules, is_proved);
    let method = exchange.request.method.clone();
    let is_plain = matches!(method, Method::GET | Method::HEAD)
        && exchange.upgrade.is_none()
        && !exchange.received.is_grpc
        && body.is_end_stream()
        && !asked.directives.no_store
        && !Conditions::are_for_upstream(&exchange.request.headers);
    if !is_plain {
        return around(way, tail, body).await;
    }
    let visit = Visit {
        way,
        key: key(exchange, way.matched.route),
        conditions: Conditions::of(&exchange.request.headers),
        asked,
        method,
        may_wait: true,
        wait_until: None,
    };
    visit.answer(tail).await
}

/// A request that the cache has nothing for. One that changes something makes it forget what was there.
async fn around(way: Way<'_>, tail: &mut Tail, body: Body) -> Result<Body, Error> {
    let method = tail.exchange.request.method.clone();
    let key = (!method.is_safe()).then(|| key(&tail.exchange, way.matched.route));
    let cache = &way.matched.snapshot.cache;
    meet(cache, tail, Event::Bypass);
    let body = forward(way.matched, tail, body).await?;
    let response = &mut tail.exchange.response;
    if let Some(key) = &key
        && response.status.is_some_and(|status| cache::invalidates(&method, status))
    {
        cache.invalidate(key);
        for name in [header::LOCATION, header::CONTENT_LOCATION] {
            let other = response.headers.get(name).and_then(|value| cache::sibling(key, value.to_str().ok()?));
            if let Some(other) = other {
                cache.invalidate(&other);
            }
        }
    }
    cache::hide_tags(&mut response.headers);
    tell(way.rules, tail, if key.is_some() { "fwd=method" } else { "fwd=bypass" });
    Ok(body)
}

/// A request that the cache may answer.
struct Visit<'a> {
    way: Way<'a>,
    key: String,
    asked: Asked,
    conditions: Conditions,
    method: Method,
    /// Whether the fetch of another request may bring what this one needs.
    may_wait: bool,
    /// Since it has begun to wait.
    wait_until: Option<Instant>,
}

/// Who fetches, and what is there already.
struct Fetch {
    /// None where what comes cannot be stored.
    ticket: Option<Ticket>,
    known: Option<Arc<Entry>>,
    why: &'static str,
}

impl<'a> Visit<'a> {
    fn cache(&self) -> &'a Arc<Cache> {
        &self.way.matched.snapshot.cache
    }

    async fn answer(mut self, tail: &mut Tail) -> Result<Body, Error> {
        let fetch = loop {
            let now_s = now_s();
            let known = self.cache().find(&self.key, &tail.exchange.request.headers);
            let verdict = known.as_deref().map(|entry| cache::judge(entry, &self.asked.directives, now_s));
            match (known, verdict) {
                (Some(entry), Some(Verdict::Fresh)) => {
                    meet(self.cache(), tail, Event::Hit);
                    return Ok(self.serve(tail, &entry, now_s, format_args!("hit; ttl={}", entry.ttl(now_s))));
                }
                // What is remembered went through the middleware, and a fetch that nobody waits for would not.
                (Some(entry), Some(verdict @ (Verdict::Stale | Verdict::Tolerated)))
                    if verdict == Verdict::Tolerated || self.way.matched.route.middleware.is_none() =>
                {
                    meet(self.cache(), tail, Event::Stale);
                    if verdict == Verdict::Stale
                        && let Joined::Mine(ticket) = self.cache().join(&self.key)
                    {
                        refresh(self.way, &self.asked, &tail.exchange, ticket, entry.clone());
                    }
                    return Ok(self.serve(tail, &entry, now_s, format_args!("hit; ttl={}", entry.ttl(now_s))));
                }
                (known, _) => match self.turn(known, now_s).await {
                    Some(fetch) => break fetch,
                    None => continue,
                },
            }
        };
        // Until there is better news: the fetch may fail, and the client may leave.
        tail.exchange.outcome.cache = Some(Event::Miss.name());
        if self.asked.directives.only_if_cached {
            return Err(Error::NotCached);
        }
        self.fetch(tail, fetch).await
    }

    /// The turn to fetch; none where another request has fetched meanwhile.
    async fn turn(&mut self, known: Option<Arc<Entry>>, now_s: u64) -> Option<Fetch> {
        let why = match &known {
            None => "uri-miss",
            Some(_) if self.asked.directives.no_cache || self.asked.directives.max_age.is_some() => "request",
            Some(_) => "stale",
        };
        let is_partial = known.is_none() && self.conditions.has_range();
        if self.method == Method::HEAD && known.is_none() || is_partial || self.asked.directives.only_if_cached {
            // Its answer is not what others want, so nobody has to wait for it.
            return Some(Fetch { ticket: None, known, why });
        }
        if self.may_wait && self.cache().passes(&self.key, now_s) {
            self.may_wait = false;
        }
        match self.cache().join(&self.key) {
            Joined::Mine(ticket) => Some(Fetch { ticket: Some(ticket), known, why }),
            Joined::Others(_) if !self.may_wait => Some(Fetch { ticket: None, known, why }),
            Joined::Others(fetch) => {
                let until = self.wait_until.unwrap_or_else(|| {
                    self.cache().count(Event::Collapsed);
                    Instant::now() + self.way.rules.wait
                });
                self.wait_until = Some(until);
                // Where it was given up, the next of those who wait fetches. An answer that has come and does not suit
                // is another variant, or is not kept, and so would be the next.
                self.may_wait = timeout_at(until, fetch.end()).await == Ok(End::Abandoned);
                None
            }
        }
    }

    async fn fetch(self, tail: &mut Tail, fetch: Fetch) -> Result<Body, Error> {
        let Fetch { ticket, known, why } = fetch;
        let exchange = &mut tail.exchange;
        let received = exchange.request.headers.clone();
        // The whole is asked for where it may be stored, or where what is stored may be good.
        let is_whole = ticket.is_some() || known.is_some();
        if is_whole {
            Conditions::strip(&mut exchange.request.headers);
        }
        if let Some(entry) = &known {
            entry.ask(&mut exchange.request.headers);
            // The answer is about the stored one, which is a GET's.
            exchange.request.method = Method::GET;
        }
        let began = Instant::now();
        let answer = forward(self.way.matched, tail, Body::Empty).await;
        let exchange = &mut tail.exchange;
        exchange.request.method = self.method.clone();
        if self.way.matched.route.chain.looks_back() {
            exchange.request.headers = received.clone();
        }
        // What the gateway answers in an upstream's place, a redirect say, is nothing to remember.
        let is_upstreams = exchange.outcome.upstream.is_some();
        let (now_s, delay_s) = (now_s(), began.elapsed().as_secs());
        let is_failed = match &answer {
            Err(Error::Upstream(_)) => true,
            Err(_) => false,
            Ok(_) => exchange.response.status.is_some_and(cache::is_error),
        };
        if let Some(entry) = known.as_ref().filter(|_| is_failed)
            && cache::may_serve_on_error(entry, &self.asked.directives, now_s)
        {
            meet(self.cache(), tail, Event::Stale);
            let ttl = entry.ttl(now_s);
            return Ok(self.serve(tail, entry, now_s, format_args!("hit; ttl={ttl}; detail=stale-if-error")));
        }
        let body = answer?;
        let status = exchange.response.status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if let Some(entry) = &known
            && status == StatusCode::NOT_MODIFIED
        {
            let news = &exchange.response.headers;
            if let Some(fresh) = entry.refreshed(&self.asked, self.way.rules, news, now_s, delay_s) {
                meet(self.cache(), tail, Event::Revalidated);
                let answered = fresh.clone();
                if let Some(ticket) = ticket {
                    self.cache().put(ticket, fresh);
                }
                return Ok(self.serve(tail, &answered, now_s, format_args!("hit; fwd={why}; fwd-status=304")));
            }
            // It may no longer be kept, but it is what this request asks for. Of what one caller is told, nothing follows
            // for what others are.
            if !self.asked.is_authorised {
                self.cache().invalidate(&self.key);
            }
            meet(self.cache(), tail, Event::Revalidated);
            return Ok(self.serve(tail, entry, now_s, format_args!("fwd={why}; fwd-status=304")));
        }
        self.cache().count(Event::Miss);
        let fields = &exchange.response.headers;
        let head =
            Head::of(&self.asked, self.way.rules, &received, status, fields, now_s, delay_s).filter(|_| is_upstreams);
        cache::hide_tags(&mut exchange.response.headers);
        let draft = match (ticket, head) {
            (Some(ticket), Some(head)) => Draft::begin(ticket, head, self.way.rules.max_body, &body),
            (Some(ticket), None) => {
                self.cache().pass(ticket, now_s);
                None
            }
            (None, _) => None,
        };
        let told = if draft.is_some() { "; stored" } else { "" };
        tell(self.way.rules, tail, format_args!("fwd={why}; fwd-status={}{told}", status.as_u16()));
        let body = match draft {
            Some(draft) => cache::record(draft, body),
            None => body,
        };
        Ok(if is_whole { self.narrow(tail, body) } else { body })
    }

    /// What the client asked for of a whole response that came for it.
    fn narrow(&self, tail: &mut Tail, body: Body) -> Body {
        let response = &mut tail.exchange.response;
        if response.status == Some(StatusCode::OK) && self.conditions.is_met(&response.headers) {
            response.status = Some(StatusCode::NOT_MODIFIED);
            cache::unchanged(&mut response.headers);
            finish(body, self.way.rules.max_body);
            return Body::Empty;
        }
        if self.method == Method::HEAD {
            finish(body, self.way.rules.max_body);
            return Body::Empty;
        }
        body
    }

    fn serve(&self, tail: &mut Tail, entry: &Entry, now_s: u64, told: fmt::Arguments<'_>) -> Body {
        let (status, headers, body) = entry.answer(&self.method, &self.conditions, now_s);
        let exchange = &mut tail.exchange;
        exchange.response.status = Some(status);
        exchange.response.headers = headers;
        // Which endpoint was asked, if any was, is of no matter to who is answered with this.
        tail.cookie = None;
        tell(self.way.rules, tail, told);
        Body::Full(body)
    }
}

/// Reads a body that the client does not want, so that it is stored.
fn finish(body: Body, max_body: usize) {
    if !body.is_end_stream() && body.size_hint().lower() <= max_body as u64 {
        tokio::spawn(drain(body, max_body));
    }
}

/// Reads a body to its end, or until it is longer than what is stored: a client must not make the gateway fetch what nobody
/// has a use for.
pub(super) async fn drain(mut body: Body, max_body: usize) {
    let all = async {
        let mut bytes = 0;
        while bytes <= max_body
            && let Some(Ok(frame)) = body.frame().await
        {
            bytes += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    let _ = timeout(LONGEST_DRAIN, all).await;
}

fn key(exchange: &Exchange, route: &Route) -> String {
    let request = &exchange.request;
    cache::Key {
        route: &route.facts.name,
        choice: exchange.upstream_choice.as_deref().unwrap_or_default(),
        version: exchange.version.as_ref().map_or("", |version| &version.name),
        fields: &request.headers,
        scheme: request.scheme.as_str(),
        authority: request.authority(),
        target: request.target.as_str(),
    }
    .text()
}

/// Counts what the request met, and notes it for its record.
fn meet(cache: &Cache, tail: &mut Tail, event: Event) {
    cache.count(event);
    tail.exchange.outcome.cache = Some(event.name());
}

/// Tells the client what the cache did, if it is to know.
fn tell(rules: &Rules, tail: &mut Tail, told: impl fmt::Display) {
    if rules.cache_status
        && let Ok(value) = HeaderValue::try_from(format!("gatewright; {told}"))
    {
        tail.exchange.response.headers.append(CACHE_STATUS, value);
    }
}

/// Unix seconds.
pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

const CACHE_STATUS: header::HeaderName = header::HeaderName::from_static("cache-status");
/// For a body that nobody but the cache reads.
const LONGEST_DRAIN: Duration = Duration::from_secs(60);
