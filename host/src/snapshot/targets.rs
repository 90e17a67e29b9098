//! Where the requests of a route go: upstreams and redirects by weight, with what each of them changes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::header::{HOST, HeaderName, HeaderValue};
use http::uri::Scheme;
use http::{HeaderMap, StatusCode, request};
use regex::Regex;
use thread_local::ThreadLocal;

use super::services::Services;
use crate::balance::Split;
use crate::config;
use crate::exchange::{RequestHead, ResponseHead};
use crate::plugin::Service;
use crate::rewrite::{Asked, Fields, Matched, PathRewrite, Redirect, Rewrite, Substitution, Text, Unfit};
use crate::router::PathPattern;
use crate::upstream::Upstream;

/// One of the targets that a route's requests go to.
pub struct Target {
    pub goal: Goal,
    /// The target's changes; `None` for most targets, which then cost nothing.
    pub edits: Option<Arc<Edits>>,
}

/// What a target does with a request.
pub enum Goal {
    Upstream(Arc<Upstream>),
    /// A component answers the request.
    Service(Arc<Service>),
    /// The client is redirected.
    Redirect(Box<Redirect>),
}

/// A target's changes to a request and to its response.
#[derive(Default)]
pub struct Edits {
    pub rewrite: Rewrite,
    pub request: Fields,
    pub response: Fields,
}

/// Targets and their weights.
#[derive(Default)]
pub struct Targets {
    targets: Vec<Target>,
    weights: Vec<u32>,
    splits: ThreadLocal<RefCell<Split>>,
}

impl Targets {
    /// The target of the next request, by weight.
    pub fn pick(&self) -> Option<&Target> {
        if let [only] = self.targets.as_slice() {
            return Some(only);
        }
        let split = self.splits.get_or(|| RefCell::new(Split::new(&self.weights, fastrand::u64(..))));
        let index = split.borrow_mut().pick()?;
        self.targets.get(index)
    }

    /// The target that is this upstream, regardless of its weight.
    pub fn named(&self, upstream: &str) -> Option<&Target> {
        self.targets.iter().find(|target| target.upstream().is_some_and(|known| **known.name() == *upstream))
    }

    /// The targets with their weights, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = (&Target, u32)> {
        self.targets.iter().zip(self.weights.iter().copied())
    }

    fn push(&mut self, target: Target, weight: u32) {
        self.targets.push(target);
        self.weights.push(weight);
    }
}

impl Target {
    pub fn upstream(&self) -> Option<&Arc<Upstream>> {
        match &self.goal {
            Goal::Upstream(upstream) => Some(upstream),
            Goal::Service(_) | Goal::Redirect(_) => None,
        }
    }

    /// The head of the redirect; `authority` is the host that the client asked for, even behind proxies.
    ///
    /// # Errors
    /// The new path would not be valid.
    pub fn redirect(
        &self,
        to: &Redirect,
        request: &RequestHead,
        authority: &str,
        pattern: Option<&PathPattern>,
    ) -> Result<ResponseHead, Unfit> {
        let asked = Asked { scheme: &request.scheme, authority, target: &request.target };
        let mut headers = to.headers(asked, &matched(pattern, request.target.path()))?;
        if let Some(edits) = &self.edits {
            edits.response(&mut headers);
        }
        Ok(ResponseHead { status: Some(to.status), headers })
    }
}

impl Edits {
    /// Changes the head of the request that is sent on.
    ///
    /// # Errors
    /// The new path would not be valid.
    pub fn request(&self, head: &mut request::Parts, pattern: Option<&PathPattern>) -> Result<(), Unfit> {
        if let Some(host) = &self.rewrite.host {
            head.headers.insert(HOST, host.clone());
        }
        if let (Some(path), Some(target)) = (&self.rewrite.path, head.uri.path_and_query())
            && let Some(target) = path.target(target, &matched(pattern, target.path()))?
        {
            head.uri = target.into();
        }
        self.request.apply(&mut head.headers);
        Ok(())
    }

    pub fn response(&self, headers: &mut HeaderMap) {
        self.response.apply(headers);
    }
}

fn matched<'a>(pattern: Option<&'a PathPattern>, path: &'a str) -> Matched<'a> {
    let Some(pattern) = pattern else { return Matched::default() };
    Matched { prefix: pattern.prefix_length(path), params: pattern.params(path).into_vec() }
}

/// What targets refer to.
#[derive(Clone, Copy)]
pub(super) struct Goals<'a> {
    pub upstreams: &'a BTreeMap<Arc<str>, Arc<Upstream>>,
    pub services: &'a Services,
}

/// Builds the targets of a list; `notices` are fields for all of their responses. Unknown upstreams have already been
/// reported.
pub(super) fn build(
    to: &[config::Target],
    rewrite: Option<&config::Rewrite>,
    notices: &Fields,
    goals: Goals<'_>,
) -> Targets {
    let mut targets = Targets::default();
    for config in to {
        let goal = match (&config.upstream, &config.service, &config.redirect) {
            (Some(name), ..) => goals.upstreams.get(name.as_str()).cloned().map(Goal::Upstream),
            (None, Some(name), _) => goals.services.get(name).cloned().map(Goal::Service),
            (None, None, Some(redirect)) => Some(Goal::Redirect(Box::new(self::redirect(redirect)))),
            (None, None, None) => None,
        };
        let edits = Edits {
            rewrite: config.rewrite.as_ref().or(rewrite).map(self::rewrite).unwrap_or_default(),
            request: fields(&config.request_headers),
            response: fields(&config.response_headers).and(notices),
        };
        if let Some(goal) = goal {
            targets.push(Target { goal, edits: edits.shared() }, config.weight);
        }
    }
    targets
}

/// Changes to the request only; `None` if there are none.
pub(super) fn request_edits(rewrite: Option<&config::Rewrite>, headers: &config::HeaderChanges) -> Option<Arc<Edits>> {
    let rewrite = rewrite.map(self::rewrite).unwrap_or_default();
    Edits { rewrite, request: fields(headers), response: Fields::default() }.shared()
}

/// The only target of a redirect route.
pub(super) fn redirect_only(config: &config::Redirect) -> Targets {
    let mut targets = Targets::default();
    targets.push(Target { goal: Goal::Redirect(Box::new(redirect(config))), edits: None }, 1);
    targets
}

impl Edits {
    fn shared(self) -> Option<Arc<Edits>> {
        let is_empty = self.rewrite.host.is_none()
            && self.rewrite.path.is_none()
            && self.request.is_empty()
            && self.response.is_empty();
        (!is_empty).then(|| Arc::new(self))
    }
}

fn redirect(config: &config::Redirect) -> Redirect {
    Redirect {
        scheme: config.scheme.map(|scheme| match scheme {
            config::rewrite::Scheme::Http => Scheme::HTTP,
            config::rewrite::Scheme::Https => Scheme::HTTPS,
        }),
        host: config.host.as_ref().map(|host| host.as_str().into()),
        port: config.port,
        path: config.path.as_ref().and_then(path_rewrite),
        status: StatusCode::from_u16(config.status.into()).unwrap_or(StatusCode::FOUND),
    }
}

fn rewrite(config: &config::Rewrite) -> Rewrite {
    Rewrite {
        host: config.host.as_ref().and_then(|host| HeaderValue::from_str(host.as_str()).ok()),
        path: config.path.as_ref().and_then(path_rewrite),
    }
}

fn path_rewrite(config: &config::PathRewrite) -> Option<PathRewrite> {
    Some(match config {
        config::PathRewrite::Full(text) => PathRewrite::Full(Text::new(text.as_str())),
        config::PathRewrite::Prefix(text) => PathRewrite::Prefix(Text::new(text.as_str())),
        config::PathRewrite::Regex(substitution) => PathRewrite::Regex(Substitution {
            // The configuration has already compiled it, with the same bounds.
            pattern: Regex::new(&format!(r"\A(?:{})\z", substitution.pattern.as_str())).ok()?,
            with: Text::new(substitution.with.as_str()),
        }),
    })
}

fn fields(config: &config::HeaderChanges) -> Fields {
    let name = |name: &config::rewrite::FieldName| HeaderName::from_bytes(name.as_str().as_bytes()).ok();
    let value = |value: &config::rewrite::FieldValue| HeaderValue::from_str(value.as_str()).ok();
    let pairs = config.append.iter().flat_map(|(name, values)| values.0.iter().map(move |value| (name, value)));
    Fields {
        remove: config.remove.iter().filter_map(name).collect(),
        set: config.set.iter().filter_map(|(key, text)| Some((name(key)?, value(text)?))).collect(),
        append: pairs.filter_map(|(key, text)| Some((name(key)?, value(text)?))).collect(),
    }
}

impl fmt::Display for Edits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut part = |f: &mut fmt::Formatter<'_>, what: &str, text: String| {
            let written = write!(f, "{separator}{what} {text}");
            separator = "; ";
            written
        };
        if let Some(host) = &self.rewrite.host {
            part(f, "host", String::from_utf8_lossy(host.as_bytes()).into_owned())?;
        }
        if let Some(path) = &self.rewrite.path {
            part(f, "path", path.to_string())?;
        }
        if !self.request.is_empty() {
            part(f, "request headers:", self.request.to_string())?;
        }
        if !self.response.is_empty() {
            part(f, "response headers:", self.response.to_string())?;
        }
        Ok(())
    }
}
