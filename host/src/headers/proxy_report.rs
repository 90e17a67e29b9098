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

/// What trusted proxies report about the client and the hops between.
pub(super) struct ProxyReport {
    /// The first from the right that is not a trusted proxy: anything to the left of it may be forged.
    pub client: IpAddr,
    /// The client's scheme.
    pub scheme: Option<Scheme>,
    /// The host that the client asked for: a valid authority.
    pub host: Option<HeaderValue>,
    /// All hops before the proxy, as an `X-Forwarded-For` list; empty if none is reported.
    pub addresses: Vec<u8>,
    /// The same as a `Forwarded` list.
    pub elements: Vec<u8>,
}

impl ProxyReport {
    /// The report of a peer that reports nothing or is not trusted.
    pub fn nothing(peer: IpAddr) -> ProxyReport {
        ProxyReport { client: peer, scheme: None, host: None, addresses: Vec::new(), elements: Vec::new() }
    }

    /// The report of a trusted peer. `seen` has the fields that are present, by index.
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
                // Scheme and host that the proxy reports belong to this client.
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
        // Anything to the left of this element may be forged, including its scheme and host.
        let Element { scheme, host, .. } = at.map(|at| chain.swap_remove(at)).unwrap_or_default();
        let host = host.filter(|host| authority::is_valid(host)).and_then(|host| HeaderValue::from_bytes(host).ok());
        ProxyReport { client, scheme, host, addresses, elements: joined(headers, &NAMES[FORWARDED]) }
    }
}

/// Walks from the nearest to the farthest hop and stops at the first that is not a trusted proxy, or not an address.
/// Returns its position as well, if any hop is reported.
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

/// A hop that the request came through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Node<'a> {
    /// With an optional port.
    Address(IpAddr, Option<u16>),
    /// An obfuscated name (RFC 7239, section 6.3).
    Hidden(&'a str),
    /// `unknown`, or anything else.
    #[default]
    Unknown,
}

impl<'a> Node<'a> {
    /// Parses an address with optional port and optional brackets, or a name.
    fn parse(node: &'a [u8]) -> Node<'a> {
        let Ok(node) = std::str::from_utf8(node.trim_ascii()) else { return Node::Unknown };
        if node.starts_with('_') && node.bytes().all(|byte| is_token(&byte)) {
            return Node::Hidden(node);
        }
        // A port may be obfuscated, too; it is useless then.
        let node = node.split_once(":_").map_or(node, |(node, _)| node);
        let bare = node.strip_prefix('[').and_then(|node| node.strip_suffix(']')).unwrap_or(node);
        match (bare.parse::<IpAddr>(), node.parse::<SocketAddr>()) {
            (Ok(address), _) => Node::Address(address.to_canonical(), None),
            (_, Ok(address)) => Node::Address(address.ip().to_canonical(), Some(address.port())),
            _ => Node::Unknown,
        }
    }

    /// Appends it as a `for` value of `Forwarded`, in which anything with a colon is quoted.
    pub fn push_forwarded(&self, into: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        let _ = match self {
            Node::Address(address, Some(port)) => write!(into, "\"{}\"", SocketAddr::new(*address, *port)),
            Node::Address(IpAddr::V6(address), None) => write!(into, "\"[{address}]\""),
            Node::Address(IpAddr::V4(address), None) => write!(into, "{address}"),
            Node::Hidden(name) => into.write_all(name.as_bytes()),
            Node::Unknown => into.write_all(b"unknown"),
        };
    }

    /// Appends it as an element of `X-Forwarded-For`, which readers expect to be a bare address.
    fn push_x_forwarded(&self, into: &mut Vec<u8>) {
        let _ = match self {
            Node::Address(address, _) => write!(into, "{address}"),
            Node::Hidden(name) => into.write_all(name.as_bytes()),
            Node::Unknown => into.write_all(b"unknown"),
        };
    }
}

/// What `Forwarded` says about one hop.
#[derive(Default)]
struct Element<'a> {
    node: Node<'a>,
    scheme: Option<Scheme>,
    host: Option<&'a [u8]>,
}

impl<'a> Element<'a> {
    /// The elements of a line; a single empty one if the line cannot be parsed.
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

/// Splits at delimiters outside quoted strings; `None` if a quoted string does not end: otherwise a client could open
/// one and so absorb what its proxy appended.
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

/// Appends `;proto=..;host=..`, as far as known.
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

/// Appends a valid authority: as a token if possible, else quoted.
pub(super) fn push_host(element: &mut Vec<u8>, host: &[u8]) {
    if !host.is_empty() && host.iter().all(is_token) {
        element.extend_from_slice(host);
    } else {
        // A valid authority contains neither quotes nor backslashes, so nothing needs escaping.
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

/// Appends the separator before another element.
fn separate(list: &mut Vec<u8>) {
    if !list.is_empty() {
        list.extend_from_slice(b", ");
    }
}
