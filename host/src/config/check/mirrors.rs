//! Whether a route's mirrors make sense.

use serde_json::Value;

use super::{Checker, MILLISECOND, Seen, unknown};
use crate::config::Route;
use crate::config::document::child;
use crate::config::text::quoted;

impl Checker<'_> {
    /// Checks the mirrors of the route at `route_pointer`.
    pub(in crate::config) fn mirrors(&mut self, route: &Route, route_pointer: &str) {
        let list = child(route_pointer, "mirror");
        if !route.mirrors.is_empty() && route.upstreams().next().is_none() {
            let message = "the route sends nothing on, so there is nothing to copy";
            self.found
                .push(self.document.at_key(&list, message).with_help("name an upstream in \"to\", or leave it out"));
        }
        let mut upstreams = Seen::new("the mirror");
        for (at, mirror) in route.mirrors.iter().enumerate() {
            let item = match self.document.value().pointer(&list) {
                Some(Value::Array(_)) => child(&list, at),
                _ => list.clone(),
            };
            let long = child(&item, "upstream");
            let pointer = if self.is_written(&long) { long } else { item.clone() };
            if unknown(&mut self.found, self.document, &self.upstreams, &mirror.upstream, &pointer) {
                continue;
            }
            upstreams.add(&mut self.found, self.document, &mirror.upstream, &pointer);
            if route.upstreams().any(|upstream| upstream == mirror.upstream) {
                // Its limits and its health would be those of the request.
                let message = format!("the route itself sends its requests to {}", quoted(&mirror.upstream));
                let help = "copies must not take what requests need; define another upstream with the same endpoints";
                self.found.push(self.document.at_value(&pointer, message).with_help(help));
            }
            if let Some(rewrite) = &mirror.rewrite {
                self.path_rewrite(route, rewrite.path.as_ref(), &format!("{item}/rewrite/path"));
            }
            self.header_changes(&mirror.request_headers, &child(&item, "request_headers"));
            self.within(&child(&item, "max_buffer"), mirror.max_buffer, "1KiB", "16MiB");
            self.within(&child(&item, "timeout"), mirror.timeout, MILLISECOND, "5m");
        }
    }
}
