//! What a trusted proxy reports about the request it received, in one of two forms: `X-Forwarded-*`, or `Forwarded`
//! (RFC 7239).
//!
//! What it reports in one of them is passed to upstreams in both. If it sends both, each is continued separately, and
//! the older one is trusted: more proxies write it, and then the other one may come from their client.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::Scheme;

use super::authority;
use super::forwarding::{FOR, FORWARDED, HOST, NAMES, PROTO, single};

/// What is told of the client, and who stands between it and the proxy.
pub(super) struct ProxyReport {
    /// The first from the right that is no trusted proxy: what stands to the left of it may be invented.
    pub client: IpAddr,
    /// What that client spoke.
    pub scheme: Option<Scheme>,
    /// The host that it asked for: a valid authority.
    pub host: Option<HeaderValue>,
    /// All who came before the proxy, as `X-Forwarded-For` lists them; empty where nobody is told of.
    pub addresses: Vec<u8>,
    /// The same as `Forwarded` does.
    pub elements: Vec<u8>,
}

impl ProxyReport {
    /// Of a peer that tells nothing, or is not believed.
    pub fn nothing(peer: IpAddr) -> ProxyReport {
        ProxyReport { client: peer, scheme: None, host: None, addresses: Vec::new(), elements: Vec::new() }
    }

    /// Of a peer that is trusted. `seen` are the fields that are there, by index.
    pub fn read(headers: &HeaderMap, seen: u16, peer: IpAddr, trusted: impl Fn(IpAddr) -> bool) -> ProxyReport {
        let has = |index: usize| seen & 1 << index != 0;
        match (has(FOR) || has(PROTO) || has(HOST), has(FORWARDED)) {
            (true, _) => ProxyReport::of_x_forwarded(headers, peer, trusted),
            (false, true) => ProxyReport::of_forwarded(headers, peer, trusted),
            (false, false) => ProxyReport::nothing(peer),
        }
    }

    fn of_x_forwarded(headers: &HeaderMap, peer: IpAddr, trusted: impl Fn(IpAddr) -> bool) -> ProxyReport {
        let scheme = single(headers, &NAMES[PROTO]).and_then(|value| scheme(value.as_bytes()));
        let host = single(headers, &NAMES[HOST]).filter(|value| authority::is_valid(value.as_bytes())).cloned();
        let addresses = joined(headers, &NAMES[FOR]);
        let nodes: Vec<Node<'_>> = match addresses.as_slice() {
            [] => Vec::new(),
            list => list.split(|&byte| byte == b',').map(Node::parse).collect(),
        };
        let (client, at) = first_untrusted(nodes.iter().copied(), peer, trusted);
        let mut elements = joined(headers, &NAMES[FORWARDED]);
        if elements.is_empty() {
            for (index, node) in nodes.iter().enumerate() {
                separate(&mut elements);
                elements.extend_from_slice(b"for=");
                node.push_forwarded(&mut elements);
                // It is this client of whom the proxy knows what it spoke.
                if at == Some(index) {
                    push_pairs(&mut elements, scheme.as_ref(), host.as_ref());
                }
            }
        }
        ProxyReport { client, scheme, host, addresses, elements }
    }

    fn of_forwarded(headers: &HeaderMap, peer: IpAddr, trusted: impl Fn(IpAddr) -> bool) -> ProxyReport {
        let lines = headers.get_all(&NAMES[FORWARDED]).iter();
        let mut chain: Vec<Element<'_>> = lines.flat_map(|line| Element::all(line.as_bytes())).collect();
        let (client, at) = first_untrusted(chain.iter().map(|element| element.node), peer, trusted);
        let mut addresses = Vec::new();
        for element in &chain {
            separate(&mut addresses);
            element.node.push_x_forwarded(&mut addresses);
        }
        // What stands to the left of this element may be invented, also what it says of scheme and host.
        let Element { scheme, host, .. } = at.map(|at| chain.swap_remove(at)).unwrap_or_default();
        let host = host.filter(|host| authority::is_valid(host)).and_then(|host| HeaderValue::from_bytes(host).ok());
        ProxyReport { client, scheme, host, addresses, elements: joined(headers, &NAMES[FORWARDED]) }
    }
}

/// Walks from the nearest to the farthest and stops at the first that is not a trusted proxy. Something that is no
/// address ends the walk as well. With its place, where somebody is told of.
fn first_untrusted<'a>(
    nodes: impl DoubleEndedIterator<Item = Node<'a>> + ExactSizeIterator,
    peer: IpAddr,
    trusted: impl Fn(IpAddr) -> bool,
) -> (IpAddr, Option<usize>) {
    let (mut client, mut at) = (peer, None);
    for (index, node) in nodes.enumerate().rev() {
        at = Some(index);
        let Node::Address(address, _) = node else { break };
        client = address;
        if !trusted(client) {
            break;
        }
    }
    (client, at)
}

/// One of those that a request came through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Node<'a> {
    /// Perhaps with a port.
    Address(IpAddr, Option<u16>),
    /// A name that a proxy made up for it (RFC 7239, section 6.3).
    Hidden(&'a str),
    /// `unknown`, or anything else.
    #[default]
    Unknown,
}

impl<'a> Node<'a> {
    /// An address, perhaps with a port, perhaps in brackets; or a name.
    fn parse(node: &'a [u8]) -> Node<'a> {
        let Ok(node) = std::str::from_utf8(node.trim_ascii()) else { return Node::Unknown };
        if node.starts_with('_') && node.bytes().all(|byte| is_token(&byte)) {
            return Node::Hidden(node);
        }
        // A port may have a made-up name, too, which helps nobody.
        let node = node.split_once(":_").map_or(node, |(node, _)| node);
        let bare = node.strip_prefix('[').and_then(|node| node.strip_suffix(']')).unwrap_or(node);
        match (bare.parse::<IpAddr>(), node.parse::<SocketAddr>()) {
            (Ok(address), _) => Node::Address(address.to_canonical(), None),
            (_, Ok(address)) => Node::Address(address.ip().to_canonical(), Some(address.port())),
            _ => Node::Unknown,
        }
    }

    /// Adds it as a value of `for` in `Forwarded`, where everything with a colon stands in quotes.
    pub fn push_forwarded(&self, into: &mut Vec<u8>) {
        // A Vec can always be written to.
        let _ = match self {
            Node::Address(address, Some(port)) => write!(into, "\"{}\"", SocketAddr::new(*address, *port)),
            Node::Address(IpAddr::V6(address), None) => write!(into, "\"[{address}]\""),
            Node::Address(IpAddr::V4(address), None) => write!(into, "{address}"),
            Node::Hidden(name) => into.write_all(name.as_bytes()),
            Node::Unknown => into.write_all(b"unknown"),
        };
    }

    /// Adds it as an element of `X-Forwarded-For`, which readers take for a bare address.
    fn push_x_forwarded(&self, into: &mut Vec<u8>) {
        let _ = match self {
            Node::Address(address, _) => write!(into, "{address}"),
            Node::Hidden(name) => into.write_all(name.as_bytes()),
            Node::Unknown => into.write_all(b"unknown"),
        };
    }
}

/// What `Forwarded` says of one hop.
#[derive(Default)]
struct Element<'a> {
    node: Node<'a>,
    scheme: Option<Scheme>,
    host: Option<&'a [u8]>,
}

impl<'a> Element<'a> {
    /// Those of a line; one that says nothing where the line cannot be read.
    fn all(line: &'a [u8]) -> Vec<Element<'a>> {
        let Some(elements) = parts(line, b',') else { return vec![Element::default()] };
        elements.into_iter().filter(|element| !element.trim_ascii().is_empty()).map(Element::parse).collect()
    }

    fn parse(text: &'a [u8]) -> Element<'a> {
        let mut element = Element::default();
        for pair in parts(text, b';').unwrap_or_default() {
            let mut halves = pair.splitn(2, |&byte| byte == b'=').map(<[u8]>::trim_ascii);
            let (Some(name), Some(value)) = (halves.next(), halves.next()) else { continue };
            let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
            if name.eq_ignore_ascii_case(b"for") {
                element.node = Node::parse(value);
            } else if name.eq_ignore_ascii_case(b"proto") {
                element.scheme = scheme(value);
            } else if name.eq_ignore_ascii_case(b"host") {
                element.host = Some(value);
            }
        }
        element
    }
}

/// What stands between delimiters that are in no quoted string; `None` where such a string has no end: a client that
/// began one would make what its proxy wrote behind it a part of its own words.
fn parts(text: &[u8], delimiter: u8) -> Option<Vec<&[u8]>> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let splits = |&byte: &u8| {
        let splits = byte == delimiter && !is_quoted;
        is_quoted ^= byte == b'"' && !is_escaped;
        is_escaped = is_quoted && byte == b'\\' && !is_escaped;
        splits
    };
    let parts: Vec<&[u8]> = text.split(splits).collect();
    (!is_quoted).then_some(parts)
}

fn scheme(name: &[u8]) -> Option<Scheme> {
    let known = [(&b"http"[..], Scheme::HTTP), (&b"https"[..], Scheme::HTTPS)];
    known.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, scheme)| scheme)
}

/// Adds `;proto=..;host=..`, as far as they are told.
fn push_pairs(element: &mut Vec<u8>, scheme: Option<&Scheme>, host: Option<&HeaderValue>) {
    if let Some(scheme) = scheme {
        element.extend_from_slice(b";proto=");
        element.extend_from_slice(scheme.as_str().as_bytes());
    }
    if let Some(host) = host {
        element.extend_from_slice(b";host=");
        push_host(element, host.as_bytes());
    }
}

/// Adds a valid authority: as a token, or in quotes where it is none.
pub(super) fn push_host(element: &mut Vec<u8>, host: &[u8]) {
    if !host.is_empty() && host.iter().all(is_token) {
        element.extend_from_slice(host);
    } else {
        // A valid authority has neither quotes nor backslashes, so a quoted string needs no escapes.
        element.push(b'"');
        element.extend_from_slice(host);
        element.push(b'"');
    }
}

fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// All values of a field as one list.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Vec<u8> {
    let mut list = Vec::new();
    for value in headers.get_all(name).iter().filter(|value| !value.is_empty()) {
        separate(&mut list);
        list.extend_from_slice(value.as_bytes());
    }
    list
}

/// Before another element of a list.
fn separate(list: &mut Vec<u8>) {
    if !list.is_empty() {
        list.extend_from_slice(b", ");
    }
}
