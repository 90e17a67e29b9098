//! Whether the parts of a route that determine where its requests go fit together: `to`, `redirect` and `rewrite`.

use serde_json::Value;

use super::check::{Checker, Seen, unknown};
use super::document::child;
use super::rewrite::{HeaderChanges, PathRewrite, PathText};
use super::route::PathMatch;
use super::text::quoted;
use super::{Match, Route, Target};

impl Checker<'_> {
    /// Checks the route at `pointer`.
    pub(super) fn destination(&mut self, route: &Route, pointer: &str) {
        let to = child(pointer, "to");
        let answers = !route.plugins.is_empty() || route.redirect.is_some() || route.versions.is_some();
        if !self.is_written(&to) && !answers {
            let lost = self.document.at_value(pointer, "the route has neither \"to\" nor plugins: nothing answers");
            self.found
                .push(lost.with_label("no answer").with_help("name an upstream in \"to\", or a plugin that answers"));
            return;
        }
        if let Some(redirect) = &route.redirect {
            for key in ["to", "rewrite"] {
                let other = child(pointer, key);
                if self.is_written(&other) {
                    let message = format!("a route that redirects sends nothing on: \"{key}\" has no use");
                    let help = "leave one of the two out; \"redirect\" in a target of \"to\" redirects a share of the requests";
                    self.found.push(self.document.at_key(&other, message).with_help(help));
                }
            }
            self.path_rewrite(route, redirect.path.as_ref(), &format!("{pointer}/redirect/path"));
        }
        if let Some(rewrite) = &route.rewrite {
            self.path_rewrite(route, rewrite.path.as_ref(), &format!("{pointer}/rewrite/path"));
        }
        self.targets(route, &route.to, &to);
    }

    /// The targets in the list (or the single one) at `list`.
    pub(super) fn targets(&mut self, route: &Route, targets: &[Target], list: &str) {
        let mut upstreams = Seen::new("the upstream");
        for (at, target) in targets.iter().enumerate() {
            let item = match self.document.value().pointer(list) {
                Some(Value::Array(_)) => child(list, at),
                _ => list.to_owned(),
            };
            self.goal(route, target, &item, &mut upstreams);
            if let Some(rewrite) = &target.rewrite {
                self.path_rewrite(route, rewrite.path.as_ref(), &format!("{item}/rewrite/path"));
            }
            self.header_changes(&target.request_headers, &child(&item, "request_headers"));
            self.header_changes(&target.response_headers, &child(&item, "response_headers"));
        }
        if !targets.is_empty() && targets.iter().all(|target| target.weight == 0) {
            let idle = self.document.at_value(list, "the weights are all 0: no request goes anywhere");
            self.found.push(idle.with_help("give one of them a weight of 1 or more"));
        }
    }

    /// A target is an upstream, a service or a redirect.
    fn goal<'t>(&mut self, route: &Route, target: &'t Target, item: &str, upstreams: &mut Seen<&'t str>) {
        if let Some(service) = &target.service {
            let pointer = child(item, "service");
            unknown(&mut self.found, self.document, &self.services, service, &pointer);
            for (key, message) in [
                ("upstream", "a target is a service or an upstream, not both"),
                ("redirect", "a target is a service or a redirect, not both"),
            ] {
                if self.is_written(&child(item, key)) {
                    let both = self.document.at_key(&child(item, key), message);
                    self.found.push(both.with_help("make it two targets, each with its weight"));
                }
            }
            return;
        }
        match (&target.upstream, &target.redirect) {
            (Some(upstream), redirect) => {
                let long = child(item, "upstream");
                let pointer = if self.is_written(&long) { long } else { item.to_owned() };
                if !unknown(&mut self.found, self.document, &self.upstreams, upstream, &pointer) {
                    upstreams.add(&mut self.found, self.document, upstream, &pointer);
                }
                if redirect.is_some() {
                    let both = self
                        .document
                        .at_key(&child(item, "redirect"), "a target is an upstream or a redirect, not both");
                    self.found.push(both.with_help("make it two targets, each with its weight"));
                }
            }
            (None, Some(redirect)) => {
                for key in ["rewrite", "request_headers"] {
                    if self.is_written(&child(item, key)) {
                        let message = format!("a redirect sends nothing on: {} has no use", quoted(key));
                        self.found.push(self.document.at_key(&child(item, key), message));
                    }
                }
                self.path_rewrite(route, redirect.path.as_ref(), &format!("{item}/redirect/path"));
            }
            (None, None) => {
                let lost = self.document.at_value(item, "the key \"upstream\" is missing");
                self.found
                    .push(lost.with_help("\"upstream\": the name of an upstream; \"service\": the name of a service"));
            }
        }
    }

    /// Whether every request of the route has the parts that its new path consists of.
    pub(super) fn path_rewrite(&mut self, route: &Route, path: Option<&PathRewrite>, pointer: &str) {
        match path {
            None => {}
            Some(PathRewrite::Full(text)) => self.parameters(route, text, pointer),
            Some(PathRewrite::Prefix(text)) => {
                let pointer = child(pointer, "prefix");
                if route.matches.iter().any(|one| !has_prefix(one)) {
                    let message = "a prefix can be replaced only where a prefix is matched";
                    let help = "every \"path\" in \"match\" has to end with \"/*\"";
                    self.found.push(self.document.at_value(&pointer, message).with_help(help));
                }
                self.parameters(route, text, &pointer);
            }
            Some(PathRewrite::Regex(substitution)) => {
                let groups = substitution.pattern.groups();
                let pointer = format!("{pointer}/regex/with");
                let is_known = |name: &&str| groups.iter().any(|group| group == name);
                self.unknown_places(&substitution.with, &pointer, is_known, "the regular expression has no group");
            }
        }
    }

    /// Every `$(name)` must be a parameter of every path that the route matches.
    fn parameters(&mut self, route: &Route, text: &PathText, pointer: &str) {
        let is_known = |name: &&str| route.matches.iter().all(|one| parameters(one).iter().any(|known| known == name));
        self.unknown_places(text, pointer, is_known, "not every \"path\" in \"match\" has the parameter");
    }

    fn unknown_places(&mut self, text: &PathText, pointer: &str, is_known: impl Fn(&&str) -> bool, what: &str) {
        if let Some(name) = text.places().find(|name| !is_known(name)) {
            self.found.push(self.document.at_value(pointer, format!("{what} {}", quoted(name))));
        }
    }

    /// Names that differ only in case are one name, so one of the two changes would silently be lost.
    pub(super) fn header_changes(&mut self, changes: &HeaderChanges, pointer: &str) {
        for (key, read) in [("set", changes.set.len()), ("append", changes.append.len())] {
            self.repeated_names(&child(pointer, key), read);
        }
    }

    pub(super) fn is_written(&self, pointer: &str) -> bool {
        self.document.value().pointer(pointer).is_some()
    }
}

/// Whether every path of the match begins with something that can be replaced.
fn has_prefix(one: &Match) -> bool {
    match &one.path {
        None => one.grpc.is_none(),
        Some(PathMatch::Pattern(pattern)) => pattern.is_prefix(),
        Some(PathMatch::Regex(_)) => false,
    }
}

pub(super) fn parameters(one: &Match) -> Vec<String> {
    match &one.path {
        None => Vec::new(),
        Some(PathMatch::Pattern(pattern)) => pattern.parameters(),
        Some(PathMatch::Regex(regex)) => {
            regex.groups().into_iter().filter(|group| !group.starts_with(|c: char| c.is_ascii_digit())).collect()
        }
    }
}
