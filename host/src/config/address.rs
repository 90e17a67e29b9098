//! Addresses: where the gateway listens, and where an endpoint is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::text::{Written, written_as_text};

/// An address to listen on: `":8080"` (all addresses, IPv4 and IPv6), `"127.0.0.1:8080"`, `"[::1]:8080"`. Port 0 picks
/// a free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenAddress {
    /// None: all addresses, IPv4 and IPv6.
    pub ip: Option<IpAddr>,
    pub port: u16,
}

impl ListenAddress {
    pub const fn loopback(port: u16) -> ListenAddress {
        ListenAddress { ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), port }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<ListenAddress, String> {
        check_no_socket_file(text)?;
        let (host, port) = split_port(text)?;
        if host.is_empty() {
            return Ok(ListenAddress { ip: None, port });
        }
        let ip = match bracketed(host) {
            Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        };
        match ip {
            Some(ip) => Ok(ListenAddress { ip: Some(ip), port }),
            None if host.parse::<Ipv6Addr>().is_ok() => Err("an IPv6 address stands in brackets".to_owned()),
            None => Err("the part before the port is not an IP address of this machine".to_owned()),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            None => write!(f, ":{}", self.port),
            Some(ip) => write!(f, "{}", std::net::SocketAddr::new(ip, self.port)),
        }
    }
}

impl Serialize for ListenAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Written for ListenAddress {
    const FORMAT: &'static str = "gateway-listen-address";
    const NOUN: &'static str = "an address to listen on";
    const HINT: &'static str = "a port, or an IP address and a port: \":8080\", \"127.0.0.1:8080\", \"[::1]:8080\"";
    const PATTERN: Option<&'static str> = Some("^([0-9.]+|\\[[0-9A-Fa-f:.]+\\])?:[0-9]+$");
    const EXAMPLES: &'static [&'static str] = &[":8080", "127.0.0.1:8080", "[::1]:8080"];
}
written_as_text!(ListenAddress);

/// The address of an endpoint: `"10.0.0.1:80"`, `"users.internal:8080"`, `"[2001:db8::1]:80"`; or the name of a service
/// whose SRV records list its servers: `"_http._tcp.users.internal"`. The port is from 1 to 65535.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointAddress {
    /// A DNS name in lower case, or an IP address without brackets.
    pub host: String,
    /// 0 for a service.
    pub port: u16,
}

impl EndpointAddress {
    /// Whether it is the name of a service.
    pub fn is_service(&self) -> bool {
        self.port == 0
    }
}

impl FromStr for EndpointAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<EndpointAddress, String> {
        check_no_socket_file(text)?;
        if text.contains("://") {
            return Err("it is a host and a port, without a scheme".to_owned());
        }
        // A host name may begin with an underscore too, but is followed by a port.
        if text.starts_with('_') && !text.contains(':') {
            check_host_name(text.strip_suffix('.').unwrap_or(text))?;
            return Ok(EndpointAddress { host: text.to_ascii_lowercase(), port: 0 });
        }
        let (host, port) = split_port(text)?;
        if port == 0 {
            return Err("port 0 cannot be connected to".to_owned());
        }
        if let Some(inner) = bracketed(host) {
            let ip: Ipv6Addr = inner.parse().map_err(|_| "the brackets hold no IPv6 address".to_owned())?;
            return Ok(EndpointAddress { host: ip.to_string(), port });
        }
        if host.parse::<Ipv6Addr>().is_ok() {
            return Err("an IPv6 address stands in brackets".to_owned());
        }
        // A trailing dot keeps the resolver from trying its search domains.
        check_host_name(host.strip_suffix('.').unwrap_or(host))?;
        Ok(EndpointAddress { host: host.to_ascii_lowercase(), port })
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_service() {
            f.write_str(&self.host)
        } else if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Written for EndpointAddress {
    const FORMAT: &'static str = "gateway-endpoint-address";
    const NOUN: &'static str = "the address of an endpoint";
    const HINT: &'static str = "a host and a port: \"10.0.0.1:80\", \"users.internal:8080\", \"[2001:db8::1]:80\"";
    const PATTERN: Option<&'static str> = Some("^(([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]+|_[A-Za-z0-9._-]+)$");
    const EXAMPLES: &'static [&'static str] = &["10.0.0.1:80", "users.internal:8080", "[2001:db8::1]:80"];
}
written_as_text!(EndpointAddress);

/// Refuses a URL, or a part of one, where a host alone is meant.
pub(super) fn check_no_url(text: &str) -> Result<(), String> {
    if text.contains('/') {
        return Err("a scheme and a path do not belong here".to_owned());
    }
    Ok(())
}

/// Checks a DNS name (RFC 1123, section 2.1), allowing the underscore of service names. Dotted IPv4 passes too. As in
/// URLs, only an IPv4 address may have a last label of digits alone, so that "10.0.1" is recognized as a mistake.
pub(super) fn check_host_name(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("the host is missing".to_owned());
    }
    if !host.is_ascii() {
        return Err("a name outside ASCII is written in its xn-- form".to_owned());
    }
    if host.len() > 253 {
        return Err("the host is longer than 253 characters".to_owned());
    }
    for label in host.split('.') {
        if label.is_empty() {
            return Err("the host has an empty label (two dots, or a dot at its begin or end)".to_owned());
        }
        let fitting = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if !fitting || label.len() > 63 || label.starts_with('-') || label.ends_with('-') {
            return Err(format!("{} is not a label of a host name", super::text::quoted(label)));
        }
    }
    let last_is_number = host.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    if last_is_number && host.parse::<Ipv4Addr>().is_err() {
        return Err("it is neither an IPv4 address nor a host name".to_owned());
    }
    Ok(())
}

/// Refuses the file of a Unix socket, in the forms of other software.
fn check_no_socket_file(text: &str) -> Result<(), String> {
    if text.starts_with('/') || text.strip_prefix("unix:").is_some_and(|rest| rest.contains(['/', '@'])) {
        return Err("Unix sockets are not supported".to_owned());
    }
    Ok(())
}

pub(super) fn split_port(text: &str) -> Result<(&str, u16), String> {
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err("the port is missing".to_owned());
    };
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("the port is missing, or not a number".to_owned());
    }
    let port = port.parse().map_err(|_| "a port is at most 65535".to_owned())?;
    Ok((host, port))
}

/// The text between `[` and `]`.
pub(super) fn bracketed(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses() {
        for text in [":8080", ":0", "127.0.0.1:80", "0.0.0.0:1", "[::]:80", "[::1]:65535"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for text in
            ["", "8080", ":", ":x", ":65536", "::1:80", "localhost:80", "[::1]", "[127.0.0.1]:80", ":+80", "1.2.3:80"]
        {
            assert!(text.parse::<ListenAddress>().is_err(), "{text:?}");
        }
        assert_eq!("::1:80".parse::<ListenAddress>().unwrap_err(), "an IPv6 address stands in brackets");
    }

    #[test]
    fn endpoint_addresses() {
        for text in
            ["10.0.0.1:80", "users.internal:8080", "[2001:db8::1]:80", "a_b.svc:1", "a.b.:80", "_http._tcp.a.b", "_a:1"]
        {
            assert_eq!(text.parse::<EndpointAddress>().unwrap().to_string(), text);
        }
        assert_eq!("Users:80".parse::<EndpointAddress>().unwrap().host, "users");
        for text in [
            "",
            ":80",
            "users",
            "users:",
            "users:0",
            "users:65536",
            "http://users:80",
            "a..b:80",
            "-a:80",
            "a b:80",
            "10.0.1:80",
            "::1:80",
            "é:80",
            ".:80",
            "[x]:80",
            "user@host:80",
        ] {
            assert!(text.parse::<EndpointAddress>().is_err(), "{text:?}");
        }
        for text in ["unix:/tmp/a.sock", "unix:///tmp/a.sock", "unix:@a", "/tmp/a.sock"] {
            assert_eq!(text.parse::<EndpointAddress>().unwrap_err(), "Unix sockets are not supported", "{text}");
            assert_eq!(text.parse::<ListenAddress>().unwrap_err(), "Unix sockets are not supported", "{text}");
        }
        assert_eq!("unix:80".parse::<EndpointAddress>().unwrap().host, "unix");
    }
}
