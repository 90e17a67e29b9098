//! Whether the listeners fit together, and each by itself: an HTTP listener has other keys than one at layer 4.

use serde_json::Value;

use super::super::layer4::Layer;
use super::super::{ForwardTarget, Listener};
use super::{Checker, MILLISECOND, Seen, address_pointer, child, quoted, unknown};
use crate::config::sections::Sections;

impl Checker<'_> {
    pub(super) fn listeners(&mut self, sections: &Sections<'_>) {
        let mut addresses = Seen::new("the address");
        let mut names = Seen::new("the name");
        for (at, listener) in &sections.listeners {
            let pointer = child("/listeners", at);
            // Port 0 is a different port each time.
            if listener.address.port != 0 {
                let pointer = address_pointer(self.document, &pointer);
                let is_udp = listener.protocol == Layer::Udp;
                addresses.add(&mut self.found, self.document, (is_udp, listener.address), &pointer);
            }
            if let Some(name) = &listener.name {
                names.add(&mut self.found, self.document, name.as_str(), &format!("{pointer}/name"));
            }
            if listener.is_layer4() {
                self.layer4_listener(listener, &pointer);
            } else {
                self.http_listener(&pointer);
                self.https(listener, &pointer);
            }
        }
        if let Some(admin) = sections.admin.filter(|admin| admin.address.port != 0) {
            addresses.add(&mut self.found, self.document, (false, admin.address), "/admin/address");
        }
        self.routes_without_listener(sections);
        self.proxied_upstreams(sections);
    }

    fn layer4_listener(&mut self, listener: &Listener, pointer: &str) {
        let to = format!("{pointer}/to");
        self.weighted(&listener.to, &to);
        if !listener.passthrough.is_empty() {
            self.passthrough(listener, pointer);
        } else if listener.to.is_empty() && self.document.value().pointer(&to).is_none() {
            let message = "the listener forwards to nowhere: \"to\" is missing";
            let missing = self.document.at_value(pointer, message).with_label("no target");
            self.found.push(missing.with_help("name an upstream in \"to\""));
        }
        let help = "a listener for HTTP takes it; with \"passthrough\", the servers have the certificates";
        self.misplaced(pointer, "tls", "what is forwarded as it is is not decrypted", help);
        let help = "what is forwarded as it is goes where \"to\" says";
        self.misplaced(pointer, "https_redirect", "only HTTP can be redirected", help);
        self.misplaced(pointer, "protocols", "only HTTP has versions to choose from", "leave it out");
        if listener.protocol == Layer::Udp {
            let help = "header and connection belong together; UDP has no connections";
            self.misplaced(pointer, "proxy_protocol", "the PROXY protocol is for TCP", help);
        }
        if let Some(timeout) = listener.idle_timeout {
            self.within(&format!("{pointer}/idle_timeout"), timeout, MILLISECOND, "24h");
        }
    }

    fn passthrough(&mut self, listener: &Listener, pointer: &str) {
        if listener.protocol == Layer::Udp {
            let help = "leave \"protocol\" out";
            self.misplaced(pointer, "protocol", "TLS is forwarded over TCP, not UDP", help);
        }
        let help = "what no server name takes goes where the entry without \"sni\" says";
        self.misplaced(pointer, "to", "with \"passthrough\", each of its entries says where to", help);
        let mut names = Seen::new("the server name");
        let mut default: Option<String> = None;
        for (at, entry) in listener.passthrough.iter().enumerate() {
            let pointer = format!("{pointer}/passthrough/{at}");
            self.weighted(&entry.to, &format!("{pointer}/to"));
            let list = format!("{pointer}/sni");
            let is_list = self.document.value().pointer(&list).is_some_and(Value::is_array);
            for (at, name) in entry.sni.iter().enumerate() {
                let pointer = if is_list { format!("{list}/{at}") } else { list.clone() };
                names.add(&mut self.found, self.document, name.as_str(), &pointer);
            }
            if entry.sni.is_empty() {
                let Some(first) = &default else {
                    default = Some(pointer);
                    continue;
                };
                let line = self.document.line(first);
                let second =
                    self.document.at_value(&pointer, "a second entry without \"sni\"").with_label("the second");
                self.found.push(second.with_help(format!("the first, in line {line}, takes whatever is left already")));
            }
        }
    }

    fn http_listener(&mut self, pointer: &str) {
        let help = "requests go where `routes` say; to forward connections as they are, add \"protocol\": \"tcp\"";
        self.misplaced(pointer, "to", "a listener for HTTP has no \"to\"", help);
        let help = "how long a connection may be without a request is said in `timeouts.idle`";
        self.misplaced(pointer, "idle_timeout", "a listener for HTTP has no \"idle_timeout\"", help);
    }

    /// Routes are for requests, which only arrive over HTTP.
    fn routes_without_listener(&mut self, sections: &Sections<'_>) {
        let written = self.document.value().get("listeners").and_then(Value::as_array).map_or(0, Vec::len);
        let all_known = written == sections.listeners.len();
        let none_http = sections.listeners.iter().all(|(_, listener)| listener.is_layer4());
        if let Some((at, _)) = sections.routes.first()
            && written > 0
            && all_known
            && none_http
        {
            let message = "no request can take this route: every listener forwards at layer 4";
            let lost = self.document.at_value(&format!("/routes/{at}"), message).with_label("never reached");
            self.found.push(lost.with_help("add a listener without \"protocol\", or use \"to\" of the listener"));
        }
    }

    /// The header names one client, so it is only for connections that belong to one.
    fn proxied_upstreams(&mut self, sections: &Sections<'_>) {
        for (name, upstream) in &sections.upstreams {
            if upstream.proxy_protocol.is_none() {
                continue;
            }
            let is_it = |target: &ForwardTarget| target.upstream == *name;
            let by_udp = |listener: &Listener| listener.protocol == Layer::Udp && listener.to.iter().any(is_it);
            let route = sections.routes.iter().find(|(_, route)| {
                route
                    .upstreams()
                    .chain(route.mirrors.iter().map(|mirror| mirror.upstream.as_str()))
                    .any(|to| to == *name)
            });
            let plugin =
                sections.plugins.iter().find(|(_, plugin)| plugin.grants.upstreams.iter().any(|to| to == name));
            let listener = sections.listeners.iter().find(|(_, listener)| by_udp(listener));
            let (user, why) = match (route, plugin, listener) {
                (Some((at, _)), ..) => {
                    (format!("/routes/{at}"), "a route sends requests of many clients over one connection")
                }
                (_, Some((plugin, _)), _) => (child("/plugins", plugin), "a plugin sends requests of its own there"),
                (.., Some((at, _))) => {
                    (format!("/listeners/{at}"), "UDP has no connections to put a header in front of")
                }
                (None, None, None) => continue,
            };
            let pointer = child(&child("/upstreams", name), "proxy_protocol");
            let message = "the PROXY protocol is for TCP connections that are forwarded as they are";
            let line = self.document.line(&user);
            let misused = self.document.at_key(&pointer, message).with_label(why);
            self.found
                .push(misused.with_help(format!("in line {line}; name another upstream there, without this key")));
        }
    }

    /// Upstreams with weights, in the list or single at `list`.
    fn weighted(&mut self, targets: &[ForwardTarget], list: &str) {
        let mut upstreams = Seen::new("the upstream");
        for (at, target) in targets.iter().enumerate() {
            let item = match self.document.value().pointer(list) {
                Some(Value::Array(_)) => format!("{list}/{at}"),
                _ => list.to_owned(),
            };
            let long = format!("{item}/upstream");
            let pointer = if self.document.value().pointer(&long).is_some() { long } else { item };
            if !unknown(&mut self.found, self.document, &self.upstreams, &target.upstream, &pointer) {
                upstreams.add(&mut self.found, self.document, target.upstream.as_str(), &pointer);
            }
        }
        if !targets.is_empty() && targets.iter().all(|target| target.weight == 0) {
            let idle = self.document.at_value(list, "the weights are all 0: nothing goes anywhere");
            self.found.push(idle.with_help("give one of them a weight of 1 or more"));
        }
    }

    /// Reports a key that has no meaning where it is.
    fn misplaced(&mut self, pointer: &str, key: &str, message: &str, help: &str) {
        let pointer = child(pointer, key);
        if self.document.value().pointer(&pointer).is_some() {
            let misplaced =
                self.document.at_key(&pointer, message).with_label(format!("{} has no place here", quoted(key)));
            self.found.push(misplaced.with_help(help));
        }
    }
}
