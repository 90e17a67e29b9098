//! Whether an upstream's endpoints and their settings fit together.

use serde_json::Value;

use super::{Checker, MILLISECOND, Seen, address_pointer, unknown};
use crate::config::document::child;
use crate::config::sections::Sections;
use crate::config::{SameSite, Upstream};

impl Checker<'_> {
    pub(super) fn upstreams(&mut self, sections: &Sections<'_>) {
        for (name, upstream) in &sections.upstreams {
            let pointer = child("/upstreams", name);
            let list =
                if self.document.value().pointer(&pointer).is_some_and(Value::is_array) { "" } else { "/endpoints" };
            let mut addresses = Seen::new("the endpoint").with_help("give one of them a higher weight to send it more");
            for (at, endpoint) in upstream.endpoints.iter().enumerate() {
                let pointer = address_pointer(self.document, &format!("{pointer}{list}/{at}"));
                addresses.add(&mut self.found, self.document, &endpoint.address, &pointer);
            }
            self.balancing(upstream, &pointer);
            self.upstream_tls(upstream, &pointer);
            self.within(&format!("{pointer}/connect_timeout"), upstream.connect_timeout, MILLISECOND, "5m");
            self.within(&format!("{pointer}/body_timeout"), upstream.body_timeout, MILLISECOND, "1h");
            self.health(&pointer, upstream);
        }
    }

    fn balancing(&mut self, upstream: &Upstream, pointer: &str) {
        if !upstream.endpoints.is_empty() && upstream.endpoints.iter().all(|endpoint| endpoint.weight == 0) {
            let idle = self.document.at_value(pointer, "the weights of all endpoints are 0: no request goes anywhere");
            self.found.push(idle);
        }
        if let Some(slow_start) = upstream.slow_start {
            self.within(&format!("{pointer}/slow_start"), slow_start, MILLISECOND, "1h");
        }
        let Some(sticky) = &upstream.sticky else { return };
        let pointer = format!("{pointer}/sticky");
        if let Some(ttl) = sticky.ttl {
            self.within(&format!("{pointer}/ttl"), ttl, "1s", "365d");
        }
        if let Some(key) = &sticky.key {
            unknown(&mut self.found, self.document, &self.secrets, key, &format!("{pointer}/key"));
        }
        if sticky.same_site == SameSite::None && sticky.secure != Some(true) {
            let message = "browsers take a cookie with \"same_site\": \"none\" only over TLS";
            let insecure = self.document.at_value(&format!("{pointer}/same_site"), message);
            self.found.push(insecure.with_help("add \"secure\": true"));
        }
    }
}
