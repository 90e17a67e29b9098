//! What a schema cannot express: whether the parts of a configuration fit together.
//!
//! A section that the schema refused is not among the [`Sections`] to check, but its name still counts as defined, so
//! that references to it are not reported as unknown.

mod admin;
mod consumers;
mod health;
mod listeners;
mod mirrors;
mod registries;
mod services;
mod tls;
mod upstreams;
mod versions;

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use serde_json::Value;

use super::diagnostic::Diagnostic;
use super::document::{Document, child};
use super::route::{Match, PathMatch, ValueMatch};
use super::sections::Sections;
use super::text::quoted;
use super::{GrpcMatch, HostPattern, Regex, Route, Source};

/// Everything that does not fit together.
pub(super) fn check(sections: &Sections<'_>, document: &Document, stock_plugins: &[&str]) -> Vec<Diagnostic> {
    let names = |section: &str| -> Vec<&str> {
        let members = document.value().get(section).and_then(Value::as_object);
        members.into_iter().flat_map(|members| members.keys()).map(String::as_str).collect()
    };
    let mut plugins = names("plugins");
    plugins.extend(stock_plugins);
    let mut checker = Checker {
        document,
        upstreams: Names::new("upstream", names("upstreams")),
        secrets: Names::new("secret", names("secrets")),
        plugins: Names::new("plugin", plugins),
        services: Names::new("service", names("services")),
        stores: Names::new("store", names("stores")),
        stock: Names::new("stock plugin", stock_plugins.to_vec()),
        found: Vec::new(),
    };
    checker.listeners(sections);
    checker.tls(sections);
    checker.overlaps(sections);
    checker.admin(sections);
    checker.forwarded_over_tls(sections);
    checker.upstreams(sections);
    checker.plugins(sections);
    checker.registries(sections);
    checker.services(sections);
    checker.stores(sections);
    checker.consumers(sections);
    checker.routes(sections);
    checker.limits(sections);
    checker.found
}

/// The defined names of one kind.
pub(super) struct Names<'a> {
    kind: &'static str,
    known: HashSet<&'a str>,
    /// In the order of the document, for help and suggestions.
    listed: Vec<&'a str>,
}

impl<'a> Names<'a> {
    fn new(kind: &'static str, listed: Vec<&'a str>) -> Names<'a> {
        Names { kind, known: listed.iter().copied().collect(), listed }
    }
}

pub(super) struct Checker<'a> {
    pub(super) document: &'a Document,
    pub(super) upstreams: Names<'a>,
    secrets: Names<'a>,
    plugins: Names<'a>,
    pub(super) services: Names<'a>,
    stores: Names<'a>,
    stock: Names<'a>,
    pub(super) found: Vec<Diagnostic>,
}

impl Checker<'_> {
    fn plugins(&mut self, sections: &Sections<'_>) {
        for (name, plugin) in &sections.plugins {
            let pointer = child("/plugins", name);
            match &plugin.source {
                None if !self.stock.known.contains(name) => {
                    let message =
                        format!("the plugin {} has no source, and no stock plugin has that name", quoted(name));
                    let missing = self.document.at_key(&pointer, message);
                    let missing = missing.with_suggestion(name, self.stock.listed.iter().copied());
                    self.found.push(missing.with_help(format!("add \"source\": \"file:{name}.wasm\"")));
                }
                Some(Source::Stock(stock)) => {
                    unknown(&mut self.found, self.document, &self.stock, stock, &format!("{pointer}/source"));
                }
                _ => {}
            }
            for (at, upstream) in plugin.grants.upstreams.iter().enumerate() {
                let pointer = format!("{pointer}/grants/upstreams/{at}");
                unknown(&mut self.found, self.document, &self.upstreams, upstream, &pointer);
            }
            for (at, secret) in plugin.grants.secrets.iter().enumerate() {
                unknown(
                    &mut self.found,
                    self.document,
                    &self.secrets,
                    secret,
                    &format!("{pointer}/grants/secrets/{at}"),
                );
            }
            if let Some(store) = &plugin.grants.store {
                let pointer = format!("{pointer}/grants/store");
                unknown(&mut self.found, self.document, &self.stores, store, &pointer);
            }
            self.within(&format!("{pointer}/limits/time"), plugin.limits.time, MILLISECOND, "60s");
            self.within(&format!("{pointer}/limits/memory"), plugin.limits.memory, "64KiB", "1GiB");
            self.within(&format!("{pointer}/limits/configure_time"), plugin.limits.configure_time, MILLISECOND, "5m");
            self.within(&format!("{pointer}/limits/callout_timeout"), plugin.limits.callout_timeout, MILLISECOND, "5m");
            self.within(&format!("{pointer}/limits/body"), plugin.limits.body, "0B", "1GiB");
            self.within(&format!("{pointer}/limits/transfer"), plugin.limits.transfer, "1KiB", "1GiB");
        }
    }

    fn stores(&mut self, sections: &Sections<'_>) {
        for (name, store) in &sections.stores {
            let pointer = child("/stores", name);
            self.within(&format!("{pointer}/timeout"), store.timeout, MILLISECOND, "5s");
            self.within(&format!("{pointer}/connect_timeout"), store.connect_timeout, MILLISECOND, "30s");
            self.within(&format!("{pointer}/slot_ttl"), store.slot_ttl, "1s", "1h");
            if store.tls.is_some() && !store.redis.tls {
                let clear = self.document.at_key(&format!("{pointer}/tls"), "the server is spoken to in the clear");
                self.found.push(clear.with_help("write \"rediss://\" in \"redis\" for TLS, or leave \"tls\" out"));
            }
            if let Some(secret) = &store.password {
                unknown(&mut self.found, self.document, &self.secrets, secret, &format!("{pointer}/password"));
            }
        }
    }

    fn routes(&mut self, sections: &Sections<'_>) {
        let mut names = Seen::new("the route name");
        let mut matches: HashMap<MatchKey<'_>, String> = HashMap::new();
        for (at, route) in &sections.routes {
            let pointer = format!("/routes/{at}");
            if let Some(name) = &route.name {
                names.add(&mut self.found, self.document, name.as_str(), &format!("{pointer}/name"));
            }
            self.duplicate_matches(route, &pointer, &mut matches);
            for (index, plugin) in route.plugins.iter().enumerate() {
                if !self.plugins.known.contains(plugin.name.as_str())
                    && self.services.known.contains(plugin.name.as_str())
                {
                    self.middleware(route, plugin, (*at, index));
                } else {
                    let pointer = plugin.pointer(*at, index);
                    unknown(&mut self.found, self.document, &self.plugins, &plugin.name, &pointer);
                }
            }
            self.destination(route, &pointer);
            self.mirrors(route, &pointer);
            self.versions(route, &pointer);
            self.delivery(route, &pointer);
        }
    }

    /// Timeouts that never end a request, waits that are longer than the request, and amounts out of range.
    fn delivery(&mut self, route: &Route, route_pointer: &str) {
        if let Some(retries) = &route.retries {
            let pointer = format!("{route_pointer}/retries");
            self.within(&format!("{pointer}/max_body"), retries.max_body, "0B", "10MiB");
            self.within(&format!("{pointer}/backoff/base"), retries.backoff.base, MILLISECOND, "1m");
            self.within(&format!("{pointer}/backoff/max"), retries.backoff.max, MILLISECOND, "1m");
            if retries.backoff.base > retries.backoff.max {
                let wrong = self.document.at_value(&format!("{pointer}/backoff"), "\"base\" is longer than \"max\"");
                self.found.push(wrong.with_help(format!("\"max\" is \"{}\" here", retries.backoff.max)));
            }
        }
        if let Some(limit) = &route.limits.max_concurrent {
            let pointer = format!("{route_pointer}/limits/max_concurrent");
            self.within(&format!("{pointer}/queue_timeout"), limit.queue_timeout, MILLISECOND, "1m");
            self.within(&format!("{pointer}/retry_after"), limit.retry_after, "1s", "1d");
        }
        if let Some(cache) = &route.cache {
            let pointer = format!("{route_pointer}/cache");
            self.within(&format!("{pointer}/max_body"), cache.max_body, "0B", "1GiB");
            self.within(&format!("{pointer}/wait"), cache.wait, MILLISECOND, "5m");
        }
        let (request, attempt) = (route.timeouts.request, route.timeouts.attempt);
        if let (Some(request), Some(attempt)) = (request, attempt)
            && attempt > request
        {
            let pointer = format!("{route_pointer}/timeouts/attempt");
            let longer = self.document.at_value(&pointer, "an attempt may take longer than the request");
            self.found.push(longer.with_help(format!("\"request\" is \"{request}\"; it ends the attempt, too")));
        }
    }

    /// Two routes that match exactly the same requests: the second would never be reached.
    fn duplicate_matches<'r>(
        &mut self,
        route: &'r Route,
        route_pointer: &str,
        seen: &mut HashMap<MatchKey<'r>, String>,
    ) {
        let list = format!("{route_pointer}/match");
        let is_list = self.document.value().pointer(&list).is_some_and(Value::is_array);
        for (at, one) in route.matches.iter().enumerate() {
            let pointer = if is_list { format!("{list}/{at}") } else { list.clone() };
            self.repeated_names(&child(&pointer, "headers"), one.headers.len());
            self.grpc(one, &pointer);
            for key in MatchKey::all(one) {
                let Some(first) = seen.get(&key) else {
                    seen.insert(key, pointer.clone());
                    continue;
                };
                let line = self.document.line(first);
                let duplicate = self.document.at_value(&pointer, "another route matches exactly the same requests");
                let duplicate = duplicate.with_label("the second");
                self.found
                    .push(duplicate.with_help(format!("the first is in line {line}; this one would never be reached")));
                break;
            }
        }
    }

    /// A gRPC call determines its path and method.
    fn grpc(&mut self, one: &Match, pointer: &str) {
        for key in ["path", "methods"].into_iter().filter(|_| one.grpc.is_some()) {
            let pointer = child(pointer, key);
            if self.document.value().pointer(&pointer).is_some() {
                let message = format!("{} and \"grpc\" exclude each other", quoted(key));
                let excluded = self.document.at_key(&pointer, message);
                self.found
                    .push(excluded.with_help("a call of gRPC is a POST to \"/service/method\"; match it by these two"));
            }
        }
    }

    /// Names that differ only in case are one name, so one of the two would silently be lost. `read` is how many were
    /// read.
    pub(super) fn repeated_names(&mut self, pointer: &str, read: usize) {
        let written = self.document.value().pointer(pointer).and_then(Value::as_object);
        let Some(written) = written.filter(|written| written.len() != read) else { return };
        let mut seen: HashMap<String, String> = HashMap::new();
        for name in written.keys() {
            let pointer = child(pointer, name);
            match seen.get(&name.to_ascii_lowercase()) {
                None => drop(seen.insert(name.to_ascii_lowercase(), pointer)),
                Some(first) => {
                    let help = format!("the first is in line {}; case makes no difference", self.document.line(first));
                    let repeated = self.document.at_key(&pointer, format!("the header {} stands twice", quoted(name)));
                    self.found.push(repeated.with_label("the second").with_help(help));
                }
            }
        }
    }

    fn limits(&mut self, sections: &Sections<'_>) {
        if let Some(cache) = sections.response_cache {
            self.within("/response_cache/memory", cache.memory, "64KiB", "64GiB");
        }
        if let Some(limits) = sections.limits {
            self.within("/limits/request_line", limits.request_line, "256B", "63KiB");
            self.within("/limits/header_bytes", limits.header_bytes, "8KiB", "1MiB");
        }
    }

    /// Reports an amount outside of `least` to `most`, both as they are written.
    fn within<T: Ord + std::str::FromStr>(&mut self, pointer: &str, amount: T, least: &str, most: &str) {
        let outside =
            |bound: &str, wrong: std::cmp::Ordering| bound.parse::<T>().is_ok_and(|bound| amount.cmp(&bound) == wrong);
        if outside(least, std::cmp::Ordering::Less) || outside(most, std::cmp::Ordering::Greater) {
            let written = self.document.written(pointer);
            let message = format!("{written} is out of range");
            self.found.push(
                self.document.at_value(pointer, message).with_help(format!("it is from \"{least}\" to \"{most}\"")),
            );
        }
    }
}

/// Values that must be distinct, with the position of each.
pub(super) struct Seen<T> {
    what: &'static str,
    help: Option<&'static str>,
    places: HashMap<T, String>,
}

impl<T: Hash + Eq> Seen<T> {
    pub(super) fn new(what: &'static str) -> Seen<T> {
        Seen { what, help: None, places: HashMap::new() }
    }

    fn with_help(self, help: &'static str) -> Seen<T> {
        Seen { help: Some(help), ..self }
    }

    pub(super) fn add(&mut self, found: &mut Vec<Diagnostic>, document: &Document, value: T, pointer: &str) {
        let Some(first) = self.places.get(&value) else {
            self.places.insert(value, pointer.to_owned());
            return;
        };
        let line = document.line(first);
        let message = format!("{} {} is already used", self.what, document.written(pointer));
        let used = format!("first used in line {line}");
        let help = self.help.map_or_else(|| used.clone(), |help| format!("{used}; {help}"));
        found.push(document.at_value(pointer, message).with_label("the second").with_help(help));
    }
}

/// Reports an undefined name, and returns whether it is one.
pub(super) fn unknown(
    found: &mut Vec<Diagnostic>,
    document: &Document,
    names: &Names<'_>,
    name: &str,
    pointer: &str,
) -> bool {
    if names.known.contains(name) {
        return false;
    }
    let expanded = document.is_expanded(pointer);
    let shown = if expanded { document.written(pointer) } else { quoted(name) };
    let is_key = pointer.starts_with("/routes") && pointer.ends_with(&child("", name));
    let message = format!("there is no {} {shown}", names.kind);
    let diagnostic = if is_key { document.at_key(pointer, message) } else { document.at_value(pointer, message) };
    // Comparing thousands of names for each of thousands of mistakes would take minutes, and nobody reads that many.
    let suggest = !expanded && found.len() < MOST_SUGGESTIONS;
    let candidates = if suggest { names.listed.as_slice() } else { &[] };
    let diagnostic = diagnostic.with_suggestion(name, candidates.iter().copied());
    let shown: Vec<&str> = names.listed.iter().copied().take(MOST_LISTED).collect();
    found.push(match (shown.is_empty(), names.listed.len() > MOST_LISTED) {
        (true, _) => diagnostic.with_help(format!("no {} is defined", names.kind)),
        (false, false) => diagnostic.with_help(format!("there are: {}", shown.join(", "))),
        (false, true) => diagnostic.with_help(format!("there are: {}, …", shown.join(", "))),
    });
    true
}

/// One host of a match with all its other conditions, in a normal form.
#[derive(PartialEq, Eq, Hash)]
struct MatchKey<'a> {
    host: Option<&'a HostPattern>,
    path: Option<PathKey<'a>>,
    grpc: Option<&'a GrpcMatch>,
    methods: Vec<&'a str>,
    headers: Vec<(&'a str, &'a ValueMatch)>,
    query: Vec<(&'a str, &'a ValueMatch)>,
}

impl<'a> MatchKey<'a> {
    fn all(one: &'a Match) -> impl Iterator<Item = MatchKey<'a>> {
        let hosts = one.host.iter().map(Some).chain(one.host.is_empty().then_some(None));
        hosts.map(|host| {
            let mut methods: Vec<&str> = one.methods.iter().map(|method| method.as_str()).collect();
            methods.sort_unstable();
            MatchKey {
                host,
                path: one.path.as_ref().map(PathKey::of),
                grpc: one.grpc.as_ref(),
                methods,
                headers: one.headers.iter().map(|(name, value)| (name.as_str(), value)).collect(),
                query: one.query.iter().map(|(name, value)| (name.as_str(), value)).collect(),
            }
        })
    }
}

#[derive(PartialEq, Eq, Hash)]
enum PathKey<'a> {
    Pattern(String),
    Regex(&'a Regex),
}

impl<'a> PathKey<'a> {
    fn of(path: &'a PathMatch) -> PathKey<'a> {
        match path {
            PathMatch::Pattern(pattern) => PathKey::Pattern(pattern.anonymous()),
            PathMatch::Regex(regex) => PathKey::Regex(regex),
        }
    }
}

/// The position of the address of a listener or an endpoint, which may be in the short form.
fn address_pointer(document: &Document, pointer: &str) -> String {
    match document.value().pointer(pointer) {
        Some(Value::Object(_)) => format!("{pointer}/address"),
        _ => pointer.to_owned(),
    }
}

const MILLISECOND: &str = "1ms";
const MOST_SUGGESTIONS: usize = 100;
const MOST_LISTED: usize = 20;
