//! Version 2: a signature, a byte each for command and family, a length, addresses, and additional fields.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::{Header, HeaderError, MOST_BYTES, Parsed, crc32c};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, command, family and length.
const FIXED_BYTES: usize = 16;

const LOCAL: u8 = 0;
const PROXY: u8 = 1;

const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// The field with the checksum of the whole header.
const CRC32C: u8 = 3;

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, HeaderError> {
    let rest = bytes.get(SIGNATURE.len()..).unwrap_or_default();
    if let Some(byte) = rest.first() {
        if byte >> 4 != 2 {
            return Err(HeaderError::Version(byte >> 4));
        }
        if byte & 0xf > PROXY {
            return Err(HeaderError::Command(byte & 0xf));
        }
    }
    let [command, family, high, low, ..] = *rest else { return Ok(Parsed::Incomplete) };
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if length > MOST_BYTES {
        return Err(HeaderError::Length(length));
    }
    let is_local = command & 0xf == LOCAL;
    // The size of the addresses, according to the family. LOCAL is accepted whatever the rest says.
    let least = match family {
        _ if is_local => 0,
        0x00 => 0,
        TCP4 | 0x12 => 12,
        TCP6 | 0x22 => 36,
        0x31 | 0x32 => 216,
        _ => return Err(HeaderError::Family(family)),
    };
    if length < FIXED_BYTES + least {
        return Err(HeaderError::Length(length));
    }
    let Some(header) = bytes.get(..length) else { return Ok(Parsed::Incomplete) };
    let (addresses, fields) =
        header.get(FIXED_BYTES..).and_then(|rest| rest.split_at_checked(least)).unwrap_or_default();
    // Without addresses there is nothing for a checksum to protect, and the rest is skipped.
    if !is_local && family != 0 {
        check_fields(header, fields)?;
    }
    let proxied = if is_local { None } else { proxied(family, addresses) };
    Ok(Parsed::Header(proxied.unwrap_or(Header::Local), length))
}

/// The addresses of a TCP connection. Other transports and Unix sockets are valid but not supported: then the
/// connection's own addresses count, as the specification says.
fn proxied(family: u8, addresses: &[u8]) -> Option<Header> {
    let (source, destination): (SocketAddr, SocketAddr) = match family {
        TCP4 => {
            let address = |ip: usize, port: usize| {
                let ip = Ipv4Addr::from(array::<4>(addresses, ip)?);
                Some(SocketAddrV4::new(ip, u16::from_be_bytes(array(addresses, port)?)))
            };
            (address(0, 8)?.into(), address(4, 10)?.into())
        }
        TCP6 => {
            let address = |ip: usize, port: usize| {
                let ip = Ipv6Addr::from(array::<16>(addresses, ip)?);
                Some(SocketAddrV6::new(ip, u16::from_be_bytes(array(addresses, port)?), 0, 0))
            };
            (address(0, 32)?.into(), address(16, 34)?.into())
        }
        _ => return None,
    };
    Some(Header::Proxied { source, destination })
}

/// Every field must be complete, and a checksum correct.
fn check_fields(header: &[u8], mut fields: &[u8]) -> Result<(), HeaderError> {
    while !fields.is_empty() {
        let [kind, high, low, ref rest @ ..] = *fields else { return Err(HeaderError::Fields) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, rest) = rest.split_at_checked(length).ok_or(HeaderError::Fields)?;
        if kind == CRC32C {
            let expected = value.try_into().map(u32::from_be_bytes).map_err(|_| HeaderError::Fields)?;
            let at = header.len() - rest.len() - length;
            let (before, after) = (header.get(..at).unwrap_or_default(), header.get(at + length..).unwrap_or_default());
            // Computed with zeros in place of the checksum.
            if crc32c::sum(before.iter().chain(&[0; 4]).chain(after)) != expected {
                return Err(HeaderError::Checksum);
            }
        }
        fields = rest;
    }
    Ok(())
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

pub(super) fn write(header: Header) -> Vec<u8> {
    let mut out = SIGNATURE.to_vec();
    let (family, addresses) = match header {
        Header::Proxied { source: SocketAddr::V4(source), destination: SocketAddr::V4(destination) } => {
            (TCP4, [source.ip().octets(), destination.ip().octets()].concat())
        }
        Header::Proxied { source: SocketAddr::V6(source), destination: SocketAddr::V6(destination) } => {
            (TCP6, [source.ip().octets(), destination.ip().octets()].concat())
        }
        Header::Proxied { .. } | Header::Local => (0, Vec::new()),
    };
    let is_proxied = matches!(header, Header::Proxied { .. });
    out.push(2 << 4 | if is_proxied { PROXY } else { LOCAL });
    out.push(family);
    match header {
        Header::Proxied { source, destination } if family != 0 => {
            let length = addresses.len() + 4;
            out.extend(u16::try_from(length).unwrap_or(0).to_be_bytes());
            out.extend(addresses);
            out.extend(source.port().to_be_bytes());
            out.extend(destination.port().to_be_bytes());
        }
        _ => out.extend([0, 0]),
    }
    out
}
