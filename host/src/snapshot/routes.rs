//! Routes from their configuration: chain, limits, and the rules of the router.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body::{Body as _, Frame, SizeHint};

use super::targets::{self, Target, Targets};
use super::{Snapshot, Versioned, Workshop, delivery, mirrors, plugins, services, versions};
use crate::admission::Admission;
use crate::body::{Body, BodyError};
use crate::cache;
use crate::config::{self, Diagnostic, Loaded, child};
use crate::exchange::RouteFacts;
use crate::plugin::{Chain, Service};
use crate::rewrite::Fields;
use crate::router::{BuildError, HostPattern, PathPattern, PatternError, Problem, Router, Rule, ValueMatch, ValueTest};
use crate::upstream::Delivery;

/// How the requests of one route are handled.
pub struct Route {
    pub facts: Arc<RouteFacts>,
    pub chain: Arc<Chain>,
    /// The middleware between the chain and the targets.
    pub middleware: Option<Arc<Service>>,
    pub limits: BodyLimits,
    /// Retries and timeouts; `None` if neither is configured.
    pub delivery: Option<Delivery>,
    /// The limit on requests in flight.
    pub admission: Option<Arc<Admission>>,
    pub upgrades: Upgrades,
    /// The mirrors that get copies of requests.
    pub mirrors: Option<mirrors::Mirrors>,
    /// The versions of the API, if there are several.
    pub versions: Option<Box<Versioned>>,
    /// How responses are cached, if they are.
    pub cache: Option<Box<cache::Rules>>,
    targets: Targets,
}

/// The protocols that a route's requests may switch to.
#[derive(Clone, Debug)]
pub struct Upgrades {
    protocols: Vec<Box<str>>,
    pub idle_timeout: Duration,
}

impl Upgrades {
    pub fn protocols(&self) -> impl Iterator<Item = &str> {
        self.protocols.iter().map(|protocol| &**protocol)
    }

    /// Tokens are compared case-insensitively (RFC 9110 §7.8).
    pub fn allows(&self, protocol: &HeaderValue) -> bool {
        self.protocols.iter().any(|known| protocol.as_bytes().eq_ignore_ascii_case(known.as_bytes()))
    }
}

/// The limits of a route's request bodies.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// In bytes.
    pub request_body: u64,
}

impl Route {
    /// The target of the next request: the upstream that a plugin chose, or a target by weight; within the version, if
    /// there are versions.
    pub fn pick(&self, choice: Option<&str>, version: Option<usize>) -> Option<&Target> {
        let targets = self.targets_of(version);
        match choice {
            Some(upstream) => targets.named(upstream).or_else(|| self.targets.named(upstream)),
            None => targets.pick(),
        }
    }

    /// What is left of `timeouts.request` for a request that began at `began`; `None` if there is no such limit.
    pub fn time_left(&self, began: Instant) -> Option<Duration> {
        let limit = self.delivery.as_ref()?.request_timeout?;
        Some(limit.saturating_sub(began.elapsed()))
    }

    fn targets_of(&self, version: Option<usize>) -> &Targets {
        let versions = self.versions.as_ref().zip(version);
        versions.and_then(|(versions, version)| versions.targets(version)).unwrap_or(&self.targets)
    }

    /// The targets with their weights, in the order of the configuration.
    pub fn targets(&self, version: Option<usize>) -> impl Iterator<Item = (&Target, u32)> {
        self.targets_of(version).iter()
    }
}

impl BodyLimits {
    /// Applies the limit to the body. Its bytes are counted in `count` as they arrive.
    ///
    /// # Errors
    /// The limit in bytes, if the announced length exceeds it.
    pub fn apply(&self, headers: &HeaderMap, body: Body, count: &mut Option<Arc<AtomicU64>>) -> Result<Body, u64> {
        if body.is_end_stream() {
            return Ok(body);
        }
        let announced =
            headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        match announced {
            Some(length) if length > self.request_body => Err(self.request_body),
            _ => {
                let count = count.insert(Arc::default()).clone();
                Ok(Body::boxed(Limited { body, count, limit: self.request_body }))
            }
        }
    }
}

/// A request body that is counted and that fails once it is too long.
struct Limited {
    body: Body,
    /// Written here and read by the writer of the record, on the same core.
    count: Arc<AtomicU64>,
    limit: u64,
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            let length = frame.data_ref().map_or(0, Bytes::len) as u64;
            let sum = self.count.load(Ordering::Relaxed).saturating_add(length);
            self.count.store(sum, Ordering::Relaxed);
            if sum > self.limit {
                return Poll::Ready(Some(Err(BodyError::TooLarge(self.limit))));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Builds all routes, in the order of the configuration.
pub(super) fn build(
    loaded: &Loaded,
    workshop: &Workshop,
    goals: targets::Goals<'_>,
    plugins: &plugins::Loaded,
    previous: Option<&Snapshot>,
) -> Vec<Route> {
    // The cookies of all upstreams, since a browser sends them to all routes of a host.
    let sticky = goals.upstreams.values().filter_map(|upstream| upstream.settings().sticky.as_ref());
    let own_cookies: Arc<[Box<str>]> = sticky.map(|sticky| Box::<str>::from(sticky.cookie.as_str())).collect();
    let route = |(index, config): (usize, &config::Route)| {
        let name = name(config, index);
        let body = config.limits.request_body.unwrap_or(loaded.config.limits.request_body);
        Route {
            admission: delivery::admission(config, &name, previous),
            versions: versions::build(config, goals),
            mirrors: mirrors::build(config, &name, goals.upstreams, previous),
            facts: Arc::new(RouteFacts {
                metrics: Some(workshop.metrics.route(&name)),
                upstreams: config.upstreams().map(Arc::from).collect(),
                name: name.into(),
            }),
            chain: Arc::new(Chain::new(plugins.of_route(index))),
            middleware: services::middleware(&loaded.config, config).and_then(|name| goals.services.get(name)).cloned(),
            limits: BodyLimits { request_body: body.as_usize() as u64 },
            delivery: delivery::of_route(config),
            upgrades: Upgrades {
                protocols: config.upgrades.iter().map(|protocol| protocol.as_str().into()).collect(),
                idle_timeout: loaded.config.timeouts.tunnel.into(),
            },
            cache: config.cache.as_ref().map(|config| Box::new(cache_rules(config, own_cookies.clone()))),
            targets: match &config.redirect {
                Some(redirect) => targets::redirect_only(redirect),
                None => targets::build(&config.to, config.rewrite.as_ref(), &Fields::default(), goals),
            },
        }
    };
    loaded.config.routes.iter().enumerate().map(route).collect()
}

fn cache_rules(config: &config::RouteCache, own_cookies: Arc<[Box<str>]>) -> cache::Rules {
    cache::Rules {
        max_body: config.max_body.as_usize(),
        wait: config.wait.into(),
        default_ttl: config.default_ttl.map(Into::into),
        stale_while_revalidate: config.stale_while_revalidate.map(Into::into),
        stale_if_error: config.stale_if_error.map(Into::into),
        client_directives: config.client_directives,
        cookies: config.cookies,
        own_cookies,
        cache_status: config.cache_status,
    }
}

/// Builds the router. A mistake is reported at the match that it concerns.
pub(super) fn router(loaded: &Loaded, mistakes: &mut Vec<Diagnostic>) -> Router {
    let mut rules = Vec::new();
    let mut places = Vec::new();
    for (index, route) in loaded.config.routes.iter().enumerate() {
        for (number, condition) in route.matches.iter().enumerate() {
            let place = child(&format!("/routes/{index}"), "match");
            let place = if route.matches.len() > 1 { child(&place, number) } else { place };
            match rule(condition, index) {
                Ok(rule) => {
                    rules.push(rule);
                    places.push(place);
                }
                Err(error) => mistakes.push(loaded.diagnostic(&place, error.to_string(), None)),
            }
        }
    }
    Router::build(rules).unwrap_or_else(|errors| {
        mistakes.extend(errors.into_iter().map(|error| explain(loaded, &places, &error)));
        Router::default()
    })
}

fn explain(loaded: &Loaded, places: &[String], error: &BuildError) -> Diagnostic {
    let place = places.get(error.rule).map_or("/routes", String::as_str);
    let help = match &error.problem {
        Problem::Duplicate { earlier, .. } => places.get(*earlier).map(|earlier| {
            format!("the same requests are taken by the match at line {}", loaded.document.line(earlier))
        }),
        _ => None,
    };
    loaded.diagnostic(place, error.to_string(), help.as_deref())
}

fn rule(condition: &config::Match, route: usize) -> Result<Rule, PatternError> {
    let path = match (&condition.path, &condition.grpc) {
        (_, Some(call)) => calls(call)?,
        (None, None) => PathPattern::any(),
        (Some(config::PathMatch::Pattern(pattern)), None) => PathPattern::parse(pattern.as_str())?,
        (Some(config::PathMatch::Regex(regex)), None) => PathPattern::regex(regex.as_str())?,
    };
    let is_call = condition.grpc.is_some();
    let test = |test: &config::ValueMatch| match test {
        config::ValueMatch::Exact(text) => Ok(ValueTest::Exact(text.clone())),
        config::ValueMatch::Regex(regex) => ValueTest::regex(regex.as_str()),
        config::ValueMatch::Present(true) => Ok(ValueTest::Present),
        config::ValueMatch::Present(false) => Ok(ValueTest::Absent),
    };
    let headers = condition.headers.iter().map(|(name, value)| (name.as_str(), value));
    let content_type = is_call.then(|| ValueTest::regex(GRPC_CONTENT_TYPE).map(|test| ("content-type", test)));
    let query = condition.query.iter().map(|(name, value)| (name.as_str(), value));
    Ok(Rule {
        hosts: condition.host.iter().map(|host| HostPattern::parse(host.as_str())).collect::<Result<_, _>>()?,
        path,
        // The schema has already checked that they are tokens.
        methods: match is_call {
            true => vec![Method::POST],
            false => condition.methods.iter().filter_map(|method| method.as_str().parse().ok()).collect(),
        },
        headers: headers
            .map(|(name, value)| Ok((name, test(value)?)))
            .chain(content_type)
            .map(|header| header.map(|(name, test)| ValueMatch { name: name.into(), test }))
            .collect::<Result<_, _>>()?,
        query: query
            .map(|(name, value)| Ok(ValueMatch { name: name.into(), test: test(value)? }))
            .collect::<Result<_, _>>()?,
        route,
    })
}

/// The paths of gRPC calls: `/service/method`.
fn calls(call: &config::GrpcMatch) -> Result<PathPattern, PatternError> {
    use config::GrpcPart::{Name, Regex};
    let text = |part: &Option<config::GrpcPart>, any: &str| match part {
        Some(Name(name)) => name.as_str().to_owned(),
        Some(Regex(_)) | None => any.to_owned(),
    };
    if !matches!(call.service, Some(Regex(_))) && !matches!(call.method, Some(Regex(_))) {
        return PathPattern::parse(&format!(
            "/{}/{}",
            text(&call.service, "{service}"),
            text(&call.method, "{method}")
        ));
    }
    let regex = |part: &Option<config::GrpcPart>| match part {
        Some(Name(name)) => name.as_str().replace('.', r"\."),
        Some(Regex(regex)) => format!("(?:{})", regex.as_str()),
        None => "[^/]+".to_owned(),
    };
    PathPattern::regex(&format!("/{}/{}", regex(&call.service), regex(&call.method)))
}

/// As the protocol defines it: with a message format or parameters, case-insensitively.
const GRPC_CONTENT_TYPE: &str = r"(?i)application/grpc(?:[+;\s].*)?";

/// The route's name in logs and metrics; derived from its index if it has none.
fn name(config: &config::Route, index: usize) -> String {
    config.name.as_ref().map_or_else(|| format!("route-{index}"), |name| name.as_str().to_owned())
}
