//! The PROXY protocol, versions 1 and 2 (haproxy.org, doc/proxy-protocol.txt): a header at the start of a connection in
//! which a proxy names the connection's original source and destination.
//!
//! Pure: bytes in, a header out, and vice versa. Strict, because a trusted address opens doors: what the specification
//! does not allow is an error, and so is a header that does not say where it ends. Whether a peer is trusted at all is
//! decided before a byte is read ([`Policy`]).

mod crc32c;
mod v1;
mod v2;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::networks::Networks;

/// The ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The proxy speaks for itself (a health check), or does not know: the connection's own addresses count.
    Local,
    /// The client, and the address that it connected to.
    Proxied { source: SocketAddr, destination: SocketAddr },
}

/// Which peers are trusted, and what happens to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Addresses of proxies, whose connections must begin with a header.
    pub trusted: Networks,
    /// Whether connections from elsewhere are served, as without this protocol.
    pub others: bool,
    /// Time limit for a header.
    pub timeout: Duration,
}

/// How to treat a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has to begin with a header.
    Header,
    /// It is served without a header; anything that looks like one is data.
    Plain,
    /// It is closed.
    Refuse,
}

impl Policy {
    /// The verdict for a connection from this address.
    pub fn verdict(&self, peer: IpAddr) -> Verdict {
        match self.trusted.contain(peer) {
            true => Verdict::Header,
            false if self.others => Verdict::Plain,
            false => Verdict::Refuse,
        }
    }
}

/// The first bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// They may become a header.
    Incomplete,
    /// No header begins like this.
    NoHeader,
    /// A header of this many bytes.
    Header(Header, usize),
}

/// The format of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

impl Version {
    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Version::V1 => "v1",
            Version::V2 => "v2",
        }
    }
}

/// Why bytes that begin like a header are not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Version 1: the line does not have the required form.
    Line,
    /// Version 1: the line is too long.
    LineTooLong,
    /// Version 2: the version is another one.
    Version(u8),
    /// Version 2: the command is neither LOCAL nor PROXY.
    Command(u8),
    /// Version 2: the family and transport do not exist.
    Family(u8),
    /// Version 2: longer than [`MOST_BYTES`], or too short for its addresses.
    Length(usize),
    /// Version 2: its fields (TLV) do not fill it exactly.
    Fields,
    /// Version 2: its checksum is wrong.
    Checksum,
}

/// Parses the header at the beginning of `bytes`.
///
/// # Errors
/// The bytes cannot become a header, whatever follows.
pub fn parse(bytes: &[u8]) -> Result<Parsed, HeaderError> {
    if begins(bytes, v2::SIGNATURE) {
        v2::parse(bytes)
    } else if begins(bytes, v1::PREFIX) {
        v1::parse(bytes)
    } else {
        Ok(Parsed::NoHeader)
    }
}

/// The header for a connection, in the format of this version.
pub fn write(version: Version, header: Header) -> Vec<u8> {
    match version {
        Version::V1 => v1::write(header),
        Version::V2 => v2::write(header),
    }
}

/// Whether `bytes` can be the beginning of something that starts with `start`.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.starts_with(start) || start.starts_with(bytes)
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderError::Line => f.write_str("a malformed line of version 1"),
            HeaderError::LineTooLong => f.write_str("a line of version 1 that does not end"),
            HeaderError::Version(version) => write!(f, "version {version}"),
            HeaderError::Command(command) => write!(f, "command {command}"),
            HeaderError::Family(family) => write!(f, "address family and transport {family:#04x}"),
            HeaderError::Length(length) => write!(f, "a length of {length} bytes"),
            HeaderError::Fields => f.write_str("fields that do not fill the header"),
            HeaderError::Checksum => f.write_str("a wrong checksum"),
        }
    }
}

impl std::error::Error for HeaderError {}

/// The longest accepted header. Version 2 allows 65,551 bytes; real headers with a client's certificate have a few
/// thousand.
pub const MOST_BYTES: usize = 16 << 10;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
