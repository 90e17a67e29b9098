//! `explain`: what would happen to a request, in words.

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::amounts::{size, time};
use super::explain_tls;
use crate::api_versions::{Chosen, Refusal};
use crate::gateway::Error;
use crate::headers::{Reject, path};
use crate::mirror::EVERY;
use crate::retry::Policy;
use crate::router::RequestView;
use crate::snapshot::{Goal, Mirrored, Route, Snapshot};
use crate::upstream::{self, Upstream};

/// Describes the request's way through the snapshot.
///
/// # Errors
/// The method, the address or a header cannot be part of a request.
pub(super) fn explain(snapshot: &Snapshot, method: &str, url: &str, headers: &[String]) -> Result<String, Error> {
    let method: Method = method.parse().map_err(|_| wrong(format!("{method:?} is not a method")))?;
    if method == Method::CONNECT {
        let refused = Reject::Tunnel;
        let (status, why) = (refused.status().as_u16(), refused.detail());
        return Ok(format!("{method} {url}\n\nthe gateway refuses it, and no route is asked: {status}, {why}\n"));
    }
    let uri: Uri = url.parse().map_err(|error| wrong(format!("{url:?} is not an address: {error}")))?;
    let headers = parse_headers(headers)?;
    let host = headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    let authority = uri.authority().map(|authority| authority.as_str()).or(host).unwrap_or_default();
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let normal =
        path::normalise(target).map_err(|reject| wrong(format!("the path is refused: {}", reject.detail())))?;
    let target = normal.as_deref().unwrap_or(target);
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let request = RequestView { method: &method, authority, path, query, headers: &headers };

    let mut text = format!("{method} {authority}{target}\n");
    if let Some(status) = explain_tls::describe(&mut text, snapshot, &uri, path) {
        let _ = writeln!(text, "\nthe listener answers, and no route is asked: {}", status.as_u16());
        return Ok(text);
    }
    let verdicts = snapshot.router.explain(&request);
    let rule = snapshot.router.find(&request);
    let found = rule.and_then(|rule| snapshot.router.route(rule));
    match found.and_then(|index| Some((index, snapshot.route(index)?))) {
        Some((index, route)) => {
            let chosen = route
                .versions
                .as_ref()
                .map(|versions| versions.choose(&headers, path, rule.and_then(|rule| snapshot.pattern(rule))));
            describe(&mut text, snapshot, index, route, chosen.as_ref());
        }
        None => text.push_str("\nno route takes it: 404\n"),
    }
    text.push_str("\nroutes, best first:\n");
    for verdict in verdicts.iter().take(MOST_ROUTES) {
        let name = snapshot.route(verdict.route).map_or("", |route| &route.facts.name);
        let _ = writeln!(text, "  {name}: {verdict}");
    }
    if verdicts.len() > MOST_ROUTES {
        let _ = writeln!(text, "  and {} more", verdicts.len() - MOST_ROUTES);
    }
    Ok(text)
}

fn describe(
    text: &mut String,
    snapshot: &Snapshot,
    index: usize,
    route: &Route,
    chosen: Option<&Result<Chosen<'_>, Refusal>>,
) {
    let line = snapshot.loaded.document.line(&format!("/routes/{index}"));
    let _ = writeln!(text, "\nroute {} ({}:{line})", route.facts.name, snapshot.loaded.document.file());
    describe_version(text, route, chosen);
    let _ = writeln!(text, "  chain:");
    for plugin in route.chain.plugins() {
        let hooks = plugin.artifact().hooks().join(", ");
        let settings = plugin.settings();
        let _ = writeln!(
            text,
            "    {} ({hooks}; on_error {}, isolation {})",
            plugin.name(),
            settings.on_error.name(),
            settings.isolation.name()
        );
    }
    if let Some(middleware) = &route.middleware {
        let _ = writeln!(text, "    {} (middleware)", middleware.name());
    }
    if route.chain.plugins().is_empty() && route.middleware.is_none() {
        let _ = writeln!(text, "    none");
    }
    let _ = writeln!(text, "  to:");
    let mut has_target = false;
    let version = chosen.and_then(|chosen| chosen.as_ref().ok()).map(|chosen| chosen.index);
    for (target, weight) in route.targets(version) {
        has_target = true;
        let edits = target.edits.as_ref().map(|edits| format!("; {edits}")).unwrap_or_default();
        let upstream = match &target.goal {
            Goal::Upstream(upstream) => upstream,
            Goal::Service(service) => {
                let _ = writeln!(text, "    service {} (weight {weight}){edits}", service.name());
                continue;
            }
            Goal::Redirect(redirect) => {
                let _ = writeln!(text, "    redirect (weight {weight}): {redirect}{edits}");
                continue;
            }
        };
        let settings = upstream.settings();
        let endpoints = upstream.endpoints();
        let endpoints: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.address().as_str()).collect();
        let _ = writeln!(
            text,
            "    {} (weight {weight}): {}; {}; connect within {}, response within {}{edits}",
            upstream.name(),
            endpoints.join(", "),
            balancing(settings),
            time(settings.transport.connect_timeout),
            time(settings.transport.response_timeout)
        );
        if let Some(tls) = &settings.transport.tls {
            let _ = writeln!(text, "      {}", tls.settings());
        }
        let _ = writeln!(text, "      {}", health(upstream));
    }
    if !has_target {
        let _ = writeln!(text, "    nowhere: a plugin has to answer");
    }
    describe_mirrors(text, route);
    let _ = writeln!(text, "  request body: at most {}", size(route.limits.request_body));
    let upgrades = route.upgrades.protocols().collect::<Vec<_>>().join(", ");
    let _ = writeln!(text, "  upgrades: {}", if upgrades.is_empty() { "none" } else { &upgrades });
    let remembers = match &route.cache {
        None => "no".to_owned(),
        Some(rules) => {
            let (largest, wait) = (size(rules.max_body as u64), time(rules.wait));
            format!("yes, bodies up to {largest}; one fetch at a time, others wait {wait}")
        }
    };
    let _ = writeln!(text, "  remembers responses: {remembers}");
    describe_delivery(text, route);
}

/// Which API version the request is for, and what determined it.
fn describe_version(text: &mut String, route: &Route, chosen: Option<&Result<Chosen<'_>, Refusal>>) {
    let (Some(chosen), Some(versions)) = (chosen, &route.versions) else { return };
    let _ = match chosen {
        Ok(Chosen { name, by: Some(by), .. }) => writeln!(text, "  version: {name}, which {by} asks for"),
        Ok(Chosen { name, by: None, .. }) => writeln!(text, "  version: {name}, the default"),
        Err(Refusal::Unknown(by)) => writeln!(text, "  version: refused, {by} asks for one that is not there"),
        Err(Refusal::Unsaid) => writeln!(text, "  version: refused, none is asked for and there is no default"),
    };
    let _ = writeln!(text, "  versions: {}", versions.names().join(", "));
}

/// The targets of mirrored requests.
fn describe_mirrors(text: &mut String, route: &Route) {
    for Mirrored { mirror, edits } in route.mirrors.iter().flat_map(|mirrors| mirrors.iter()) {
        let settings = mirror.settings();
        let edits = edits.as_ref().map(|edits| format!("; {edits}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "  mirror: {} gets a copy of {} %, {} at a time, at most {} behind, answered within {}{edits}",
            mirror.upstream().name(),
            f64::from(settings.share) * 100.0 / f64::from(EVERY),
            settings.max_concurrent,
            size(settings.max_buffer as u64),
            time(settings.timeout)
        );
    }
}

/// What happens when an endpoint fails or there are too many requests.
fn describe_delivery(text: &mut String, route: &Route) {
    if let Some(delivery) = &route.delivery {
        let limits = [("request", delivery.request_timeout), ("attempt", delivery.attempt_timeout)];
        for (what, limit) in limits.into_iter().filter_map(|(what, limit)| Some((what, limit?))) {
            let _ = writeln!(text, "  timeout of the {what}: {} to the head of the response", time(limit));
        }
    }
    // Nothing else is retried.
    if !route.facts.upstreams.is_empty() {
        let failover = Policy::failover();
        let retries = route.delivery.as_ref().map_or(&failover, |delivery| &delivery.retries);
        let _ = writeln!(text, "  retries: {retries}");
    }
    if let Some(admission) = &route.admission {
        let limit = admission.settings();
        let _ = writeln!(
            text,
            "  requests at a time: {}, then {} wait for at most {}, the others get 503",
            limit.requests,
            limit.queue,
            time(limit.queue_timeout)
        );
    }
}

/// How the health of endpoints is determined.
fn health(upstream: &Upstream) -> String {
    let settings = upstream.settings();
    let probes = match &settings.probing {
        Some(probing) => format!("{} every {}", probing.probe, time(probing.schedule.interval)),
        None => "no probes".to_owned(),
    };
    match &settings.ejection {
        ejection if ejection.on.is_empty() => format!("{probes}; no ejection"),
        ejection => {
            let kinds: Vec<&str> = ejection.on.iter().map(|kind| kind.name()).collect();
            let (away, kinds) = (time(ejection.time), kinds.join(", "));
            format!("{probes}; ejected for {away} after {} of {kinds}", ejection.consecutive)
        }
    }
}

/// How an endpoint is chosen, in the words of the configuration.
fn balancing(settings: &upstream::Settings) -> String {
    let mut text = match &settings.hash {
        Some(hash) => format!("hash by {}", hash.by),
        None => settings.balance.to_string(),
    };
    if let Some(bound) = settings.hash.as_ref().and_then(|hash| hash.bounded_load) {
        let _ = write!(text, ", bounded load {bound}");
    }
    if let Some(sticky) = &settings.sticky {
        let _ = write!(text, ", sticky by the cookie {}", sticky.cookie);
    }
    if let Some(slow_start) = settings.slow_start {
        let _ = write!(text, ", slow start {}", time(slow_start));
    }
    if settings.endpoints.iter().any(|server| server.priority > 0) {
        text.push_str(", by priority");
    }
    text
}

fn parse_headers(lines: &[String]) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let field = line.split_once(':').and_then(|(name, value)| {
            let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        });
        let (name, value) = field.ok_or_else(|| wrong(format!("{line:?} is not a header; write 'name: value'")))?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn wrong(text: String) -> Error {
    Error::System(text)
}

/// How many routes are described.
const MOST_ROUTES: usize = 20;
