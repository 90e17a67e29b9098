//! Whether services fit together with the rest.

use super::{Checker, MILLISECOND, unknown};
use crate::config::document::child;
use crate::config::sections::Sections;
use crate::config::text::quoted;
use crate::config::{PluginUse, Route, Source};

impl Checker<'_> {
    pub(super) fn services(&mut self, sections: &Sections<'_>) {
        for (name, service) in &sections.services {
            let pointer = child("/services", name);
            let elsewhere = match &service.source {
                Source::File(_) => None,
                Source::Oci(_) => Some("a service is not fetched from a registry"),
                Source::Stock(_) => Some("no service comes with the gateway"),
            };
            if let Some(why) = elsewhere {
                let wrong = self.document.at_value(&format!("{pointer}/source"), why);
                self.found.push(wrong.with_help(format!("\"file:{name}.wasm\" is a component beside gateway.json")));
            }
            for (at, upstream) in service.grants.upstreams.iter().enumerate() {
                let pointer = format!("{pointer}/grants/upstreams/{at}");
                unknown(&mut self.found, self.document, &self.upstreams, upstream, &pointer);
            }
            let (pointer, limits) = (format!("{pointer}/limits"), &service.limits);
            self.within(&format!("{pointer}/time"), limits.time, MILLISECOND, "60s");
            self.within(&format!("{pointer}/memory"), limits.memory, "64KiB", "1GiB");
            self.within(&format!("{pointer}/response_timeout"), limits.response_timeout, MILLISECOND, "10m");
            self.within(&format!("{pointer}/body_timeout"), limits.body_timeout, MILLISECOND, "1h");
            self.within(&format!("{pointer}/callout_timeout"), limits.callout_timeout, MILLISECOND, "5m");
        }
    }

    /// A service in a chain is a middleware, and comes after all plugins. The position of the route comes first, then
    /// the position in its chain.
    pub(super) fn middleware(&mut self, route: &Route, used: &PluginUse, (row, index): (usize, usize)) {
        let (document, name) = (self.document, &used.name);
        let pointer = used.pointer(row, index);
        let at = |message: String| match used.is_long {
            true => document.at_key(&pointer, message),
            false => document.at_value(&pointer, message),
        };
        if index + 1 < route.plugins.len() {
            let early = at(format!("the service {} is not the last of its chain", quoted(name)));
            self.found.push(early.with_help("a middleware stands behind all plugins, before what \"to\" names"));
        }
        if used.is_long {
            let given = at(format!("the service {} takes no configuration from a route", quoted(name)));
            self.found.push(given.with_help(format!("write its name alone: {}", quoted(name))));
        }
        let upgrades = format!("/routes/{row}/upgrades");
        if !route.upgrades.is_empty() && self.is_written(&upgrades) {
            let lost = document.at_key(&upgrades, "a route with a middleware does not switch protocols");
            self.found.push(lost.with_help(format!("leave it out, or {} out of \"plugins\"", quoted(name))));
        }
    }
}
