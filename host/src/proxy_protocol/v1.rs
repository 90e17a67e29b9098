//! Version 1: `PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Header, HeaderError, Parsed};

pub(super) const PREFIX: &[u8] = b"PROXY ";

/// Including the end of the line; the specification allows no more.
const MOST_BYTES: usize = 107;

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, HeaderError> {
    let line = bytes.get(..MOST_BYTES).unwrap_or(bytes);
    let Some(end) = line.iter().position(|byte| *byte == b'\r' || *byte == b'\n') else {
        return if bytes.len() < MOST_BYTES { Ok(Parsed::Incomplete) } else { Err(HeaderError::LineTooLong) };
    };
    match (line.get(end), line.get(end + 1)) {
        (Some(b'\r'), Some(b'\n')) => {}
        (Some(b'\r'), None) if bytes.len() < MOST_BYTES => return Ok(Parsed::Incomplete),
        _ => return Err(HeaderError::Line),
    }
    let text = line.get(PREFIX.len()..end).and_then(|text| std::str::from_utf8(text).ok()).ok_or(HeaderError::Line)?;
    let header = header(text).ok_or(HeaderError::Line)?;
    Ok(Parsed::Header(header, end + 2))
}

/// Parses the text between `PROXY ` and the end of the line.
fn header(text: &str) -> Option<Header> {
    let mut words = text.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        // Whatever follows is to be ignored.
        return Some(Header::Local);
    }
    let address = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    let (source, destination) = (address(words.next()?)?, address(words.next()?)?);
    let (source_port, destination_port) = (port(words.next()?)?, port(words.next()?)?);
    if words.next().is_some() {
        return None;
    }
    Some(Header::Proxied {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    })
}

/// Digits only, without a leading zero.
fn port(text: &str) -> Option<u16> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| canonical)
}

pub(super) fn write(header: Header) -> Vec<u8> {
    let line = match header {
        Header::Proxied { source: SocketAddr::V4(source), destination: SocketAddr::V4(destination) } => {
            format!("PROXY TCP4 {} {} {} {}\r\n", source.ip(), destination.ip(), source.port(), destination.port())
        }
        Header::Proxied { source: SocketAddr::V6(source), destination: SocketAddr::V6(destination) } => {
            format!("PROXY TCP6 {} {} {} {}\r\n", source.ip(), destination.ip(), source.port(), destination.port())
        }
        // Mixed families have no form, and cannot occur: a client connects to an address of its own family.
        Header::Proxied { .. } | Header::Local => "PROXY UNKNOWN\r\n".to_owned(),
    };
    line.into_bytes()
}
