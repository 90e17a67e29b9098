//! HTTPS redirects and `Strict-Transport-Security` of listeners, from their configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::uri::Scheme;
use http::{HeaderValue, StatusCode};

use super::listeners;
use crate::config::{self, Config};
use crate::exchange::{Parts, RequestHead, ResponseHead};
use crate::rewrite::{Asked, Matched, Redirect};

/// How a listener makes its clients use TLS.
pub struct Https {
    /// Without TLS: where clients are redirected to.
    redirect: Option<Redirect>,
    /// With TLS: the value of `Strict-Transport-Security`.
    pub hsts: Option<HeaderValue>,
}

impl Https {
    /// Puts the redirect to https into the exchange; false if the request is to be served.
    #[inline]
    pub fn redirects(&self, exchange: &mut Parts) -> bool {
        let authority = exchange.source.authority(&exchange.request);
        let Some(answer) = self.answer(&exchange.request, authority) else { return false };
        exchange.response = answer;
        true
    }

    /// The status of the redirect for a plaintext request for this path; `None` if it is served.
    pub fn sends_away(&self, path: &str) -> Option<StatusCode> {
        self.redirect_of(path).map(|redirect| redirect.status)
    }

    fn redirect_of(&self, path: &str) -> Option<&Redirect> {
        self.redirect.as_ref().filter(|_| !path.starts_with(ACME))
    }

    fn answer(&self, request: &RequestHead, authority: &str) -> Option<ResponseHead> {
        // A client that came to a trusted proxy over https would be redirected to the same place forever.
        let redirect = self.redirect_of(request.target.path()).filter(|_| request.scheme != Scheme::HTTPS)?;
        let asked = Asked { scheme: &request.scheme, authority, target: &request.target };
        // The head has been checked, so its host can be part of an address. Even if that failed, the request would not
        // be served.
        let headers = redirect.headers(asked, &Matched { prefix: None, params: Vec::new() }).unwrap_or_default();
        Some(ResponseHead { status: Some(redirect.status), headers })
    }
}

/// The `Https` of all listeners that have one, by name.
pub(super) fn https(config: &Config) -> BTreeMap<Arc<str>, Arc<Https>> {
    let secure = config.listeners.iter().filter(|listener| listener.tls.is_some() && !listener.is_layer4());
    let port = secure.map(|listener| listener.address.port).find(|port| *port != 0);
    let of = |listener: &config::Listener| Https {
        redirect: listener.https_redirect.as_ref().map(|to| redirect(to, port)),
        hsts: listener.tls.as_ref().and_then(|tls| tls.hsts.as_ref()).and_then(hsts),
    };
    let all = listeners::names(config).into_iter().zip(config.listeners.iter().map(of));
    let some = all.filter(|(_, https)| https.redirect.is_some() || https.hsts.is_some());
    some.map(|(name, https)| (name, Arc::new(https))).collect()
}

fn redirect(to: &config::HttpsRedirect, port: Option<u16>) -> Redirect {
    Redirect {
        scheme: Some(Scheme::HTTPS),
        host: None,
        port: to.port.or(port),
        path: None,
        status: StatusCode::from_u16(to.status.into()).unwrap_or(StatusCode::PERMANENT_REDIRECT),
    }
}

fn hsts(hsts: &config::Hsts) -> Option<HeaderValue> {
    let seconds = if hsts.withdraw { 0 } else { std::time::Duration::from(hsts.max_age).as_secs() };
    let mut text = format!("max-age={seconds}");
    for (directive, is_set) in [("; includeSubDomains", hsts.include_subdomains), ("; preload", hsts.preload)] {
        if is_set {
            text.push_str(directive);
        }
    }
    HeaderValue::from_str(&text).ok()
}

/// Describes what a listener does.
impl fmt::Display for Https {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.redirect, &self.hsts) {
            (Some(redirect), _) => write!(f, "redirects all but {ACME}*: {redirect}"),
            (None, Some(hsts)) => write!(f, "adds Strict-Transport-Security: {}", hsts.to_str().unwrap_or_default()),
            (None, None) => Ok(()),
        }
    }
}

/// Challenges of certificate authorities (RFC 8555, section 8.3), some of which are requested without TLS.
const ACME: &str = "/.well-known/acme-challenge/";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;

    fn head(host: &str, target: &str) -> RequestHead {
        RequestHead {
            method: Method::GET,
            scheme: Scheme::HTTP,
            target: target.parse().unwrap(),
            headers: HeaderMap::from_iter([(http::header::HOST, host.parse().unwrap())]),
        }
    }

    #[test]
    fn the_same_address_over_https() {
        for (port, host, target, expected) in [
            (None, "a.test", "/x?y=1", Some("https://a.test/x?y=1")),
            (Some(443), "a.test:8080", "/", Some("https://a.test/")),
            (Some(8443), "a.test:8080", "/", Some("https://a.test:8443/")),
            (Some(8443), "[::1]:8080", "/", Some("https://[::1]:8443/")),
            (None, "a.test", "/.well-known/acme-challenge/token", None),
            (None, "a.test", "/.well-known/acme-challenge", Some("https://a.test/.well-known/acme-challenge")),
            (None, "a.test", "/x/.well-known/acme-challenge/t", Some("https://a.test/x/.well-known/acme-challenge/t")),
        ] {
            let https = Https { redirect: Some(redirect(&config::HttpsRedirect::default(), port)), hsts: None };
            let answer = https.answer(&head(host, target), host);
            let location = answer.as_ref().map(|answer| answer.headers["location"].to_str().unwrap());
            assert_eq!(location, expected, "{host} {target}");
            let status = expected.map(|_| StatusCode::PERMANENT_REDIRECT);
            assert_eq!((answer.and_then(|answer| answer.status), https.sends_away(target)), (status, status));
            let secure = RequestHead { scheme: Scheme::HTTPS, ..head(host, target) };
            assert!(https.answer(&secure, host).is_none(), "{host} {target}");
        }
    }

    #[test]
    fn the_field_as_rfc_6797_writes_it() {
        let all = config::Hsts { include_subdomains: true, preload: true, ..config::Hsts::default() };
        let none = config::Hsts { withdraw: true, ..config::Hsts::default() };
        for (config, expected) in [
            (config::Hsts::default(), "max-age=31536000"),
            (all, "max-age=31536000; includeSubDomains; preload"),
            (none, "max-age=0"),
        ] {
            assert_eq!(hsts(&config).unwrap(), expected);
        }
    }
}
