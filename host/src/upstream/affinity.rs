//! What ties a request to an endpoint: the key that is hashed, and the cookie of a sticky session.
//!
//! The cookie holds a tag: the HMAC-SHA-256 of the upstream's name and the endpoint's address under the operator's key.
//! Without the key it reveals nothing and cannot be forged, and it needs no store: every core and every gateway with
//! the same key recognises it, also after a reload. A tag that matches no endpoint is ignored.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Upstream;
use super::endpoint::Endpoint;
use super::members::Members;
use super::settings::Address;
use crate::balance::hash;

/// What the choice of an endpoint may depend on, besides the endpoints themselves.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Hash of the configured [`HashBy`] value: requests with the same hash go to the same endpoint.
    pub key: Option<u64>,
    /// The endpoint tag from the client's sticky cookie.
    pub(super) tag: Option<Tag>,
    /// Whether the client came over TLS, so that its cookie can be `Secure`.
    pub(super) over_tls: bool,
}

/// The client that sends the request.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// The client's address, as reported by trusted proxies if there are any.
    pub address: IpAddr,
    /// The subject that a plugin has authenticated.
    pub identity: Option<&'a str>,
    pub over_tls: bool,
}

/// The part of a request that consistent hashing uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashBy {
    /// The first line of a header field.
    Header(HeaderName),
    Cookie(String),
    /// The first value of a query parameter, not decoded.
    Query(String),
    /// The client's address.
    Source,
    /// The path without the query.
    Path,
    /// The caller's identity, once a plugin has authenticated it.
    Identity,
}

impl fmt::Display for HashBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HashBy::Header(name) => write!(f, "header {name}"),
            HashBy::Cookie(name) => write!(f, "cookie {name}"),
            HashBy::Query(name) => write!(f, "query {name}"),
            HashBy::Source => f.write_str("source"),
            HashBy::Path => f.write_str("path"),
            HashBy::Identity => f.write_str("identity"),
        }
    }
}

/// Sticky sessions: the endpoint of a client's first request also gets its later ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Sticky {
    /// The cookie's name.
    pub cookie: String,
    pub path: String,
    /// How long the client keeps the cookie after it is set; `None` means until the client's session ends.
    pub ttl: Option<Duration>,
    pub same_site: SameSite,
    /// Whether the cookie is `Secure`. `None`: only if it is set over TLS.
    pub secure: Option<bool>,
    pub key: StickyKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    Strict,
    Lax,
    None,
}

/// The key that signs sticky cookies.
#[derive(Clone, PartialEq, Eq)]
pub struct StickyKey(Arc<[u8]>);

/// Identifies an endpoint in a cookie.
pub(super) type Tag = [u8; TAG_BYTES];

impl Upstream {
    /// What the choice of an endpoint for this request depends on. Does not look at the request if the settings need
    /// nothing from it.
    pub fn ask(&self, client: &Client<'_>, target: &PathAndQuery, headers: &HeaderMap) -> Ask {
        let settings = &self.settings;
        let mut ask = Ask { over_tls: client.over_tls, ..Ask::default() };
        if let Some(hash) = &settings.hash {
            ask.key = key(&hash.by, client, target, headers);
        }
        if let Some(sticky) = &settings.sticky {
            ask.tag = cookie(headers, &sticky.cookie).and_then(read_tag);
        }
        ask
    }

    /// The same for a connection, of which only the source address is known.
    pub fn ask_of_connection(&self, address: IpAddr) -> Ask {
        let by_source = self.settings.hash.as_ref().is_some_and(|hash| hash.by == HashBy::Source);
        Ask { key: by_source.then(|| hash_of(address)), ..Ask::default() }
    }

    /// The cookie that makes the client come back to this endpoint; `None` if the client already does.
    pub(super) fn stick(&self, members: &Members, ask: &Ask, endpoint: &Arc<Endpoint>) -> Option<Box<HeaderValue>> {
        let sticky = self.settings.sticky.as_ref()?;
        let tag = members.tag(endpoint).filter(|tag| ask.tag.as_ref() != Some(tag))?;
        sticky.set_cookie(tag, ask.over_tls).map(Box::new)
    }
}

fn key(by: &HashBy, client: &Client<'_>, target: &PathAndQuery, headers: &HeaderMap) -> Option<u64> {
    let bytes = match by {
        HashBy::Header(name) => headers.get(name)?.as_bytes(),
        HashBy::Cookie(name) => cookie(headers, name)?.as_bytes(),
        HashBy::Query(name) => parameter(target.query()?, name)?.as_bytes(),
        HashBy::Source => return Some(hash_of(client.address)),
        HashBy::Path => target.path().as_bytes(),
        HashBy::Identity => client.identity?.as_bytes(),
    };
    Some(hash(bytes))
}

fn hash_of(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => hash(&address.octets()),
        IpAddr::V6(address) => hash(&address.octets()),
    }
}

/// The value of the first cookie with this name (RFC 6265, section 4.2).
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

impl Sticky {
    /// The tag of an endpoint.
    pub(super) fn tag(&self, upstream: &str, address: &Address) -> Tag {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.key.0);
        let mut context = hmac::Context::with_key(&key);
        // A name contains no zero byte, so different pairs never give the same input.
        context.update(upstream.as_bytes());
        context.update(&[0]);
        context.update(address.as_str().as_bytes());
        let mut tag = [0; TAG_BYTES];
        tag.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        tag
    }

    /// The `Set-Cookie` value for this tag.
    pub(super) fn set_cookie(&self, tag: &Tag, over_tls: bool) -> Option<HeaderValue> {
        let mut text = format!("{}={}; Path={}; HttpOnly", self.cookie, BASE64_URL_SAFE_NO_PAD.encode(tag), self.path);
        if let Some(ttl) = self.ttl {
            text.push_str(&format!("; Max-Age={}", ttl.as_secs()));
        }
        text.push_str(match self.same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        });
        if self.secure.unwrap_or(over_tls) {
            text.push_str("; Secure");
        }
        HeaderValue::try_from(text).ok()
    }
}

fn read_tag(text: &str) -> Option<Tag> {
    // Only one length is ever decoded, whatever a client sends.
    (text.len() == TAG_BYTES * 4 / 3).then(|| BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()).flatten()
}

/// The position of a tag. The lookup is by the first part only, so somebody who guessed that part learns nothing about
/// the rest.
pub(super) fn find_tag(tags: &[Tag], tag: &Tag) -> Option<usize> {
    let (begin, rest) = tag.split_at_checked(FINDING_BYTES)?;
    let position = tags.iter().position(|known| known.starts_with(begin))?;
    let known = tags.get(position)?.get(FINDING_BYTES..)?;
    verify_slices_are_equal(known, rest).is_ok().then_some(position)
}

impl StickyKey {
    /// # Errors
    /// The secret is shorter than [`SHORTEST_KEY`].
    pub fn new(secret: &str) -> Result<StickyKey, String> {
        match secret.len() {
            length if length < SHORTEST_KEY => {
                Err(format!("it has {length} bytes, and a key has at least {SHORTEST_KEY}"))
            }
            _ => Ok(StickyKey(secret.as_bytes().into())),
        }
    }

    /// A random key that stays the same for the life of the process.
    pub fn of_this_process() -> StickyKey {
        static KEY: LazyLock<StickyKey> = LazyLock::new(|| {
            let mut key = [0; 32];
            // This fails only on a system without a source of randomness, where no cookie could be trusted.
            let filled = aws_lc_rs::rand::fill(&mut key);
            assert!(filled.is_ok(), "the system gives no random bytes");
            StickyKey(key.into())
        });
        KEY.clone()
    }
}

impl fmt::Debug for StickyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StickyKey")
    }
}

/// 8 bytes to find the endpoint and 16 to prove it.
const TAG_BYTES: usize = 24;
const FINDING_BYTES: usize = 8;

/// In bytes. Half of what HMAC-SHA-256 makes use of, to allow keys that are typed.
pub const SHORTEST_KEY: usize = 16;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sticky(key: &str) -> Sticky {
        Sticky {
            cookie: "gw".into(),
            path: "/".into(),
            ttl: None,
            same_site: SameSite::Lax,
            secure: None,
            key: StickyKey::new(key).unwrap(),
        }
    }

    #[test]
    fn a_tag_is_found_whole_or_not_at_all() {
        let sticky = sticky("0123456789abcdef");
        let addresses: Vec<Address> = (1..50).map(|at| format!("10.0.0.{at}:80").parse().unwrap()).collect();
        let tags: Vec<Tag> = addresses.iter().map(|address| sticky.tag("orders", address)).collect();
        for (position, tag) in tags.iter().enumerate() {
            assert_eq!(find_tag(&tags, tag), Some(position));
            for bit in 0..TAG_BYTES * 8 {
                let mut other = *tag;
                other[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(find_tag(&tags, &other), None);
            }
        }
        assert_eq!(find_tag(&[], &tags[0]), None);
    }

    #[test]
    fn a_tag_depends_on_key_upstream_and_address() {
        let (one, other): (Address, Address) = ("10.0.0.1:80".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let key = sticky("0123456789abcdef");
        let tag = key.tag("orders", &one);
        assert_eq!(tag, key.tag("orders", &one));
        assert_ne!(tag, key.tag("orders", &other));
        assert_ne!(tag, key.tag("users", &one));
        assert_ne!(tag, sticky("0123456789abcdeg").tag("orders", &one));
    }

    #[test]
    fn cookies_are_set_safely() {
        let plain = sticky("0123456789abcdef");
        let tag = [255; TAG_BYTES];
        let text = |sticky: &Sticky, over_tls| sticky.set_cookie(&tag, over_tls).unwrap().to_str().unwrap().to_owned();
        let value = "_".repeat(32);
        assert_eq!(text(&plain, false), format!("gw={value}; Path=/; HttpOnly; SameSite=Lax"));
        assert_eq!(text(&plain, true), format!("gw={value}; Path=/; HttpOnly; SameSite=Lax; Secure"));
        let ttl = Some(Duration::from_secs(90));
        let all = Sticky { ttl, same_site: SameSite::None, secure: Some(true), path: "/a".into(), ..plain };
        assert_eq!(text(&all, false), format!("gw={value}; Path=/a; HttpOnly; Max-Age=90; SameSite=None; Secure"));
        assert_eq!(read_tag(&value), Some(tag));
    }

    #[test]
    fn only_a_text_of_the_right_length_is_a_tag() {
        for text in ["", "_", &"_".repeat(31), &"_".repeat(33), &"!".repeat(32), &"=".repeat(32), &"_".repeat(100_000)]
        {
            assert_eq!(read_tag(text), None, "{text:.40}");
        }
    }

    #[test]
    fn keys_come_from_where_they_are_asked_for() {
        let mut headers = HeaderMap::new();
        headers.append("x-user", HeaderValue::from_static("anna"));
        headers.append("cookie", HeaderValue::from_static("a=1; user=anna"));
        headers.append("cookie", HeaderValue::from_static("user=otto; b"));
        let target = PathAndQuery::from_static("/anna?x&user=anna&user=otto");
        let client = Client { address: "10.1.2.3".parse().unwrap(), identity: Some("anna"), over_tls: false };
        let key = |by| key(&by, &client, &target, &headers);
        let anna = Some(hash(b"anna"));
        assert_eq!(key(HashBy::Header(HeaderName::from_static("x-user"))), anna);
        assert_eq!(key(HashBy::Cookie("user".into())), anna);
        assert_eq!(key(HashBy::Query("user".into())), anna);
        assert_eq!(key(HashBy::Identity), anna);
        assert_eq!(key(HashBy::Path), Some(hash(b"/anna")));
        assert_eq!(key(HashBy::Source), Some(hash(&[10, 1, 2, 3])));
        assert_eq!(key(HashBy::Query("x".into())), Some(hash(b"")));
        for nothing in
            [HashBy::Header(HeaderName::from_static("x")), HashBy::Cookie("b".into()), HashBy::Query("y".into())]
        {
            assert_eq!(key(nothing), None);
        }
    }
}
