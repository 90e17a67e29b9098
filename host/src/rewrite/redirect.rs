//! Redirects (RFC 9110, section 15.4).

use std::fmt;

use bytes::Bytes;
use http::header::HeaderValue;
use http::uri::{PathAndQuery, Scheme};
use http::{StatusCode, header};

use super::path::{Matched, PathRewrite, Unfit};

/// The target, as far as it differs from the requested address.
#[derive(Clone, Debug)]
pub struct Redirect {
    pub scheme: Option<Scheme>,
    pub host: Option<Box<str>>,
    pub port: Option<u16>,
    pub path: Option<PathRewrite>,
    pub status: StatusCode,
}

/// The requested address.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub scheme: &'a Scheme,
    /// The host with its port, if it has one.
    pub authority: &'a str,
    pub target: &'a PathAndQuery,
}

impl Redirect {
    /// The field `Location`: always a complete address, so that no proxy in front has to guess.
    ///
    /// # Errors
    /// The new path would not be valid.
    pub fn location(&self, asked: Asked<'_>, matched: &Matched<'_>) -> Result<HeaderValue, Unfit> {
        let (host, port) = split(asked.authority);
        let scheme = self.scheme.as_ref().unwrap_or(asked.scheme);
        // Another scheme has another port, so the request's cannot be used.
        let port = self.port.or_else(|| port.filter(|_| self.scheme.is_none()));
        let port = port.filter(|port| *port != default_port(scheme));
        let path = match &self.path {
            Some(path) => path.target(asked.target, matched)?,
            None => None,
        };
        let target = path.as_ref().unwrap_or(asked.target).as_str();
        let mut location = format!("{scheme}://{}", self.host.as_deref().unwrap_or(host));
        if let Some(port) = port {
            location.push_str(&format!(":{port}"));
        }
        location.push_str(if target == "*" { "/" } else { target });
        HeaderValue::from_maybe_shared(Bytes::from(location)).map_err(|_| Unfit)
    }

    /// The fields of the response, which has no body.
    ///
    /// # Errors
    /// See [`Redirect::location`].
    pub fn headers(&self, asked: Asked<'_>, matched: &Matched<'_>) -> Result<http::HeaderMap, Unfit> {
        let mut headers = http::HeaderMap::with_capacity(2);
        headers.insert(header::LOCATION, self.location(asked, matched)?);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        Ok(headers)
    }
}

/// Host and port; an IPv6 address keeps its brackets.
fn split(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

fn default_port(scheme: &Scheme) -> u16 {
    if *scheme == Scheme::HTTPS { 443 } else { 80 }
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status.as_u16())?;
        if let Some(scheme) = &self.scheme {
            write!(f, ", scheme {scheme}")?;
        }
        if let Some(host) = &self.host {
            write!(f, ", host {host}")?;
        }
        if let Some(port) = self.port {
            write!(f, ", port {port}")?;
        }
        if let Some(path) = &self.path {
            write!(f, ", path {path}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::path::Text;
    use super::*;

    fn redirect() -> Redirect {
        Redirect { scheme: None, host: None, port: None, path: None, status: StatusCode::FOUND }
    }

    #[test]
    fn what_is_left_out_stays_as_it_was_asked_for() {
        let https = Redirect { scheme: Some(Scheme::HTTPS), ..redirect() };
        let host = Redirect { host: Some("b.org".into()), ..redirect() };
        let port = Redirect { port: Some(8443), ..https.clone() };
        let well_known = Redirect { port: Some(80), ..redirect() };
        let full = Redirect { path: Some(PathRewrite::Full(Text::new("/new"))), ..redirect() };
        let prefix = Redirect { path: Some(PathRewrite::Prefix(Text::new("/new"))), ..redirect() };
        for (redirect, authority, target, expected) in [
            (&https, "a.org", "/x?y=1", "https://a.org/x?y=1"),
            (&https, "a.org:8080", "/", "https://a.org/"),
            (&https, "[::1]:8080", "/", "https://[::1]/"),
            (&https, "[::1]", "/", "https://[::1]/"),
            (&host, "a.org", "/", "http://b.org/"),
            (&host, "a.org:8080", "/", "http://b.org:8080/"),
            (&port, "a.org:8080", "/", "https://a.org:8443/"),
            (&well_known, "a.org:8080", "/", "http://a.org/"),
            (&full, "a.org:81", "/old/x?q", "http://a.org:81/new?q"),
            (&prefix, "a.org", "/old/x?q", "http://a.org/new/x?q"),
            (&https, "a.org", "*", "https://a.org/"),
        ] {
            let target: PathAndQuery = target.parse().unwrap();
            let asked = Asked { scheme: &Scheme::HTTP, authority, target: &target };
            let matched = Matched { prefix: Some(4), params: Vec::new() };
            assert_eq!(redirect.location(asked, &matched).unwrap(), expected);
        }
    }
}
