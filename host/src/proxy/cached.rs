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
use super::forward;
use super::refresh::refresh;
use super::tail::Tail;
use crate::body::Body;
use crate::cache::{self, Asked, Cache, Conditions, Draft, End, Entry, Event, Head, Joined, Rules, Ticket, Verdict};
use crate::exchange::Exchange;
use crate::snapshot::{Found, Route};

/// A request's route and the rules of its cache.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub found: Found<'a>,
    pub rules: &'a Rules,
}

/// Answers the request from the cache, and asks the upstream where that is not possible.
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
        key: key(exchange, way.found.route),
        conditions: Conditions::of(&exchange.request.headers),
        asked,
        method,
        may_wait: true,
        wait_until: None,
    };
    visit.answer(tail).await
}

/// Forwards a request that the cache cannot answer. An unsafe method invalidates the cached response.
async fn around(way: Way<'_>, tail: &mut Tail, body: Body) -> Result<Body, Error> {
    let method = tail.exchange.request.method.clone();
    let key = (!method.is_safe()).then(|| key(&tail.exchange, way.found.route));
    let cache = &way.found.snapshot.cache;
    meet(cache, tail, Event::Bypass);
    let body = forward(way.found, tail, body).await?;
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

/// A request that may be answered from the cache.
struct Visit<'a> {
    way: Way<'a>,
    key: String,
    asked: Asked,
    conditions: Conditions,
    method: Method,
    /// Whether it may wait for another request's fetch, which may bring the response it needs.
    may_wait: bool,
    /// When the wait ends; `None` until it has begun.
    wait_until: Option<Instant>,
}

/// A fetch from the upstream.
struct Fetch {
    /// The right to store the response; `None` if this request does not store it.
    ticket: Option<Ticket>,
    known: Option<Arc<Entry>>,
    why: &'static str,
}

impl<'a> Visit<'a> {
    fn cache(&self) -> &'a Arc<Cache> {
        &self.way.found.snapshot.cache
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
                // A cached response has been through the middleware; a background fetch would bypass it.
                (Some(entry), Some(verdict @ (Verdict::Stale | Verdict::Tolerated)))
                    if verdict == Verdict::Tolerated || self.way.found.route.middleware.is_none() =>
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
        // For now: the fetch may fail, and the client may disconnect.
        tail.exchange.outcome.cache = Some(Event::Miss.name());
        if self.asked.directives.only_if_cached {
            return Err(Error::NotCached);
        }
        self.fetch(tail, fetch).await
    }

    /// Takes a turn to fetch. `None` after waiting for another request's fetch: the cache is then to be asked again.
    async fn turn(&mut self, known: Option<Arc<Entry>>, now_s: u64) -> Option<Fetch> {
        let why = match &known {
            None => "uri-miss",
            Some(_) if self.asked.directives.no_cache || self.asked.directives.max_age.is_some() => "request",
            Some(_) => "stale",
        };
        let is_partial = known.is_none() && self.conditions.has_range();
        if self.method == Method::HEAD && known.is_none() || is_partial || self.asked.directives.only_if_cached {
            // Other requests cannot use the response, so none of them has to wait for it.
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
                // If that fetch was abandoned, the next of the waiting requests fetches. If it brought a response that
                // does not fit, that was another variant or is not stored, and the next one would be no different.
                self.may_wait = timeout_at(until, fetch.end()).await == Ok(End::Abandoned);
                None
            }
        }
    }

    async fn fetch(self, tail: &mut Tail, fetch: Fetch) -> Result<Body, Error> {
        let Fetch { ticket, known, why } = fetch;
        let exchange = &mut tail.exchange;
        let received = exchange.request.headers.clone();
        // Asks for the complete response if it may be stored, or if the stored one may still be valid.
        let is_whole = ticket.is_some() || known.is_some();
        if is_whole {
            Conditions::strip(&mut exchange.request.headers);
        }
        if let Some(entry) = &known {
            entry.ask(&mut exchange.request.headers);
            // The question is whether the stored response is still valid, and that is the response to a GET.
            exchange.request.method = Method::GET;
        }
        let began = Instant::now();
        let answer = forward(self.way.found, tail, Body::Empty).await;
        let exchange = &mut tail.exchange;
        exchange.request.method = self.method.clone();
        if self.way.found.route.chain.looks_back() {
            exchange.request.headers = received.clone();
        }
        // A response that the gateway made itself, such as a redirect, is not stored.
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
            // The response may no longer be stored, but it does answer this request. The answer to an authorised
            // request says nothing about other callers' responses, so it invalidates nothing.
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

    /// Reduces a complete response to what the client asked for.
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
        // The client gets a stored response, so it does not matter which endpoint was asked, if any was.
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

/// Reads a body to its end, or until it is longer than what is stored: a client must not make the gateway fetch data
/// that nobody uses.
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

/// Counts how the cache dealt with the request, and notes it for the record.
fn meet(cache: &Cache, tail: &mut Tail, event: Event) {
    cache.count(event);
    tail.exchange.outcome.cache = Some(event.name());
}

/// Tells the client what the cache did, if the rules say so.
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
/// Time limit for a body that only the cache reads.
const LONGEST_DRAIN: Duration = Duration::from_secs(60);
