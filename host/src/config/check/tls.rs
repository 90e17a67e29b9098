//! Whether the addresses of listeners are distinct, and whether the TLS settings of listeners and upstreams fit
//! together. The contents of certificate files are checked when the snapshot is built.

use super::{Checker, address_pointer};
use crate::config::sections::Sections;
use crate::config::{Duration, Layer, ListenAddress, Listener, Upstream, UpstreamProtocol, child};

impl Checker<'_> {
    /// A listener with TLS needs a certificate to present.
    pub(super) fn tls(&mut self, sections: &Sections<'_>) {
        for (at, listener) in &sections.listeners {
            let Some(tls) = &listener.tls else { continue };
            let pointer = format!("/listeners/{at}/tls");
            if tls.certificates.is_empty() && !tls.self_signed {
                let bare = self.document.at_value(&pointer, "the listener speaks TLS and has no certificate to show");
                let help = "add \"certificates\": [{ \"cert\": \"a.pem\", \"key\": \"a.key\" }], or \"self_signed\": \
                            true while developing";
                self.found.push(bare.with_help(help));
            } else if tls.self_signed && !tls.certificates.is_empty() {
                let both = self.document.at_value(&format!("{pointer}/self_signed"), "there are certificates as well");
                self.found.push(both.with_help("a self-signed certificate stands in place of others; leave one out"));
            }
        }
    }

    /// Only requests without TLS can be redirected to TLS, and only to another port.
    pub(super) fn https(&mut self, listener: &Listener, pointer: &str) {
        if let Some(redirect) = &listener.https_redirect {
            let pointer = format!("{pointer}/https_redirect");
            if listener.tls.is_some() {
                let over = self.document.at_key(&pointer, "the clients of this listener speak TLS already");
                self.found.push(over.with_help("it belongs to the listener without \"tls\""));
            } else if listener.address.port != 0 && redirect.port == Some(listener.address.port) {
                let loops =
                    self.document.at_value(&format!("{pointer}/port"), "this is the port of the listener itself");
                self.found.push(loops.with_help("it is the port where clients find https, such as 443"));
            }
        }
        let Some(hsts) = listener.tls.as_ref().and_then(|tls| tls.hsts.as_ref()) else { return };
        if hsts.preload && !(hsts.include_subdomains && hsts.max_age >= Duration::seconds(YEAR)) {
            let pointer = format!("{pointer}/tls/hsts/preload");
            let early = self.document.at_value(&pointer, "browsers' lists take no host with these settings");
            self.found.push(early.with_help("they ask for \"include_subdomains\": true and a \"max_age\" of \"365d\""));
        }
    }

    /// HTTP/2 has one name over TLS and another without.
    pub(super) fn upstream_tls(&mut self, upstream: &Upstream, pointer: &str) {
        let protocol = format!("{pointer}/protocol");
        match (upstream.protocol, &upstream.tls) {
            (UpstreamProtocol::Http2, None) => {
                let alone = self.document.at_value(&protocol, "\"h2\" is HTTP/2 over TLS, and there is no \"tls\"");
                self.found.push(alone.with_help("add \"tls\": {}, or write \"h2c\" for HTTP/2 in the clear"));
            }
            (UpstreamProtocol::Http2Clear, Some(_)) => {
                let both = self.document.at_value(&protocol, "\"h2c\" is HTTP/2 in the clear, and there is \"tls\"");
                self.found.push(both.with_help("write \"h2\" for HTTP/2 over TLS"));
            }
            _ => {}
        }
    }

    /// Forwarded traffic uses TLS only if it is a stream that has no TLS of its own.
    pub(super) fn forwarded_over_tls(&mut self, sections: &Sections<'_>) {
        let has_tls =
            |name: &str| sections.upstreams.iter().any(|(known, upstream)| *known == name && upstream.tls.is_some());
        for (at, listener) in &sections.listeners {
            let passed = listener.passthrough.iter().flat_map(|entry| &entry.to);
            let passed = passed.map(|to| (to, "what comes is TLS already, and the servers have the certificates"));
            let sent = listener.to.iter().filter(|_| listener.protocol == Layer::Udp);
            let sent = sent.map(|to| (to, "datagrams are no stream to speak TLS over"));
            let Some((to, why)) = passed.chain(sent).find(|(to, _)| has_tls(&to.upstream)) else { continue };
            let pointer = child(&child("/upstreams", &to.upstream), "tls");
            let line = self.document.line(&format!("/listeners/{at}"));
            let message = format!("the listener in line {line} cannot forward to an upstream with TLS");
            let misused = self.document.at_key(&pointer, message).with_label(why);
            self.found.push(misused.with_help("name another upstream there, without this key"));
        }
    }

    /// All addresses of the machine and one of them: the kernel would choose which listener gets a connection.
    pub(super) fn overlaps(&mut self, sections: &Sections<'_>) {
        let listeners: Vec<(String, bool, ListenAddress)> = sections
            .listeners
            .iter()
            .map(|(at, listener)| (format!("/listeners/{at}"), listener.protocol == Layer::Udp, listener.address))
            .map(|(pointer, is_udp, address)| (address_pointer(self.document, &pointer), is_udp, address))
            .chain(sections.admin.map(|admin| ("/admin/address".to_owned(), false, admin.address)))
            .collect();
        for (second, (pointer, is_udp, address)) in listeners.iter().enumerate() {
            let mut before = listeners.iter().take(second).filter(|(_, other, _)| other == is_udp);
            let Some((first, ..)) = before.find(|(.., other)| overlap(*address, *other)) else { continue };
            let written = self.document.written(first);
            let message = format!("{} and {written} are listened on at once", self.document.written(pointer));
            let overlapping = self.document.at_value(pointer, message).with_label("the second");
            let help = format!("the first is in line {}; one of them takes in the other", self.document.line(first));
            self.found.push(overlapping.with_help(help));
        }
    }
}

/// In seconds.
const YEAR: u64 = 365 * 24 * 60 * 60;

/// Whether some connection could belong to either. Equal addresses are another mistake, reported elsewhere.
fn overlap(one: ListenAddress, other: ListenAddress) -> bool {
    if one.port != other.port || one.port == 0 || one == other {
        return false;
    }
    match (one.ip, other.ip) {
        (None, _) | (_, None) => true,
        (Some(one), Some(other)) => {
            one.is_ipv4() == other.is_ipv4() && (one.is_unspecified() || other.is_unspecified())
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_overlap_where_one_takes_in_the_other() {
        for (one, other, expected) in [
            (":80", "127.0.0.1:80", true),
            (":80", "[::1]:80", true),
            (":80", "0.0.0.0:80", true),
            ("0.0.0.0:80", "10.0.0.1:80", true),
            ("[::]:80", "[::1]:80", true),
            ("[::]:80", "0.0.0.0:80", false),
            ("0.0.0.0:80", "[::1]:80", false),
            ("127.0.0.1:80", "10.0.0.1:80", false),
            (":80", "127.0.0.1:81", false),
            (":0", "127.0.0.1:0", false),
            (":80", ":80", false),
        ] {
            let (one, other): (ListenAddress, ListenAddress) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(overlap(one, other), expected, "{one} {other}");
            assert_eq!(overlap(other, one), expected, "{other} {one}");
        }
    }
}
