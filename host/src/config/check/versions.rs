//! Whether the versions of a route fit together, and fit the paths that it matches.

use super::{Checker, MOST_LISTED};
use crate::config::Route;
use crate::config::destination::parameters;
use crate::config::document::child;
use crate::config::text::quoted;
use crate::config::versions::{VersionBy, Versions};

impl Checker<'_> {
    /// Checks the versions of the route at `route_pointer`.
    pub(in crate::config) fn versions(&mut self, route: &Route, route_pointer: &str) {
        let Some(versions) = &route.versions else { return };
        let pointer = child(route_pointer, "versions");
        if route.redirect.is_some() {
            let message = "a route that redirects has no versions: what it redirects to may have";
            self.found.push(self.document.at_key(&pointer, message).with_help("leave one of the two out"));
        }
        self.places(route, versions, &pointer);
        self.default_version(versions, &pointer);
        for (name, version) in &versions.list {
            let pointer = child(&child(&pointer, "list"), name);
            if version.to.is_empty() && route.to.is_empty() && route.plugins.is_empty() {
                let lost = self.document.at_key(&pointer, "neither the version nor its route says where requests go");
                self.found.push(lost.with_help("name an upstream in \"to\" of the version or of the route"));
            }
            if let Some(rewrite) = &version.rewrite {
                self.path_rewrite(route, rewrite.path.as_ref(), &format!("{pointer}/rewrite/path"));
            }
            self.targets(route, &version.to, &child(&pointer, "to"));
            if let (Some(deprecated), Some(sunset)) = (version.deprecated, version.sunset)
                && sunset < deprecated
            {
                let pointer = child(&pointer, "sunset");
                let early = self.document.at_value(&pointer, "the version goes before it is deprecated");
                self.found.push(early.with_help("\"sunset\" is not before \"deprecated\" (RFC 9745, section 4)"));
            }
        }
    }

    /// A version in the path must be a parameter of a matched path.
    fn places(&mut self, route: &Route, versions: &Versions, pointer: &str) {
        let list = child(pointer, "by");
        let is_list = self.document.value().pointer(&list).is_some_and(serde_json::Value::is_array);
        for (at, by) in versions.by.iter().enumerate() {
            let VersionBy::Path(name) = by else { continue };
            let is_there = route.matches.iter().any(|one| parameters(one).iter().any(|known| known == name.as_str()));
            if !is_there {
                let item = if is_list { child(&list, at) } else { list.clone() };
                let message = format!("no \"path\" in \"match\" has the parameter {}", quoted(name.as_str()));
                let help = format!("such as \"/{{{}}}/*\"", name.as_str());
                self.found.push(self.document.at_value(&child(&item, "path"), message).with_help(help));
            }
        }
    }

    fn default_version(&mut self, versions: &Versions, pointer: &str) {
        let Some(default) = versions.default.as_ref().filter(|name| !versions.list.contains_key(name.as_str())) else {
            return;
        };
        let names = versions.list.keys().map(String::as_str);
        let listed: Vec<&str> = names.clone().take(MOST_LISTED).collect();
        let unknown = self
            .document
            .at_value(&child(pointer, "default"), format!("there is no version {}", quoted(default.as_str())));
        let unknown = unknown.with_suggestion(default.as_str(), names);
        self.found.push(unknown.with_help(format!("there are: {}", listed.join(", "))));
    }
}
