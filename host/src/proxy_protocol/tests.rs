use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn proxied(source: &str, destination: &str) -> Header {
    Header::Proxied { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

/// A header of version 2 with this command, family and block.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [v2::SIGNATURE, &[command, family], &length, block].concat()
}

const IPV4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0xc3, 0x50, 1, 0xbb];

fn with_fields(fields: &[u8]) -> Vec<u8> {
    v2(0x21, 0x11, &[&IPV4, fields].concat())
}

#[test]
fn headers_of_version_1() {
    let example = proxied("192.0.2.1:50000", "192.0.2.2:443");
    for (text, expected) in [
        ("PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n", Ok(example)),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            Ok(proxied("255.255.255.255:65535", "255.255.255.255:65535")),
        ),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 0 0\r\n", Ok(proxied("192.0.2.1:0", "192.0.2.2:0"))),
        ("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", Ok(proxied("[2001:db8::1]:1", "[::1]:2"))),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            Ok(proxied(
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            )),
        ),
        ("PROXY UNKNOWN\r\n", Ok(Header::Local)),
        ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", Ok(Header::Local)),
        ("PROXY UNKNOWN whatever it says\r\n", Ok(Header::Local)),
        ("PROXY \r\n", Err(HeaderError::Line)),
        ("PROXY TCP4\r\n", Err(HeaderError::Line)),
        ("PROXY TCP5 192.0.2.1 192.0.2.2 50000 443\r\n", Err(HeaderError::Line)),
        ("PROXY UDP4 192.0.2.1 192.0.2.2 50000 443\r\n", Err(HeaderError::Line)),
        ("PROXY tcp4 192.0.2.1 192.0.2.2 50000 443\r\n", Err(HeaderError::Line)),
        ("PROXY UNKNOWNS\r\n", Err(HeaderError::Line)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 50000\r\n", Err(HeaderError::Line)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 50000 443 1\r\n", Err(HeaderError::Line)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 50000 443 \r\n", Err(HeaderError::Line)),
        ("PROXY  TCP4 192.0.2.1 192.0.2.2 50000 443\r\n", Err(HeaderError::Line)),
        ("PROXY TCP4  192.0.2.1 192.0.2.2 50000 443\r\n", Err(HeaderError::Line)),
        ("PROXY TCP4\t192.0.2.1 192.0.2.2 50000 443\r\n", Err(HeaderError::Line)),
        ("PROXY TCP4 192.0.2.01 192.0.2.2 50000 443\r\n", Err(HeaderError::Line)),
        ("PROXY TCP4 192.0.2.256 192.0.2.2 50000 443\r\n", Err(HeaderError::Line)),
        ("PROXY TCP4 ::1 192.0.2.2 50000 443\r\n", Err(HeaderError::Line)),
        ("PROXY TCP6 192.0.2.1 192.0.2.2 50000 443\r\n", Err(HeaderError::Line)),
        ("PROXY TCP6 fe80::1%eth0 ::1 50000 443\r\n", Err(HeaderError::Line)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n", Err(HeaderError::Line)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 -1 443\r\n", Err(HeaderError::Line)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 443\r\n", Err(HeaderError::Line)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 01 443\r\n", Err(HeaderError::Line)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2  443\r\n", Err(HeaderError::Line)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\n", Err(HeaderError::Line)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\rX", Err(HeaderError::Line)),
        ("PROXY UNKNOWN\r\r\n", Err(HeaderError::Line)),
        ("PROXY UNKNOWN \u{e9}\r\n", Ok(Header::Local)),
    ] {
        let expected = expected.map(|header| Parsed::Header(header, text.len()));
        assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
        // The bytes after the header do not belong to it.
        if expected.is_ok() {
            assert_eq!(parse(format!("{text}PROXY UNKNOWN\r\n").as_bytes()), expected, "{text:?}");
        }
    }
    let long = format!("PROXY UNKNOWN {}", "x".repeat(200));
    assert_eq!(parse(&long.as_bytes()[..106]), Ok(Parsed::Incomplete));
    assert_eq!(parse(&long.as_bytes()[..107]), Err(HeaderError::LineTooLong));
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
    assert_eq!(parse(longest.as_bytes()), Ok(Parsed::Header(Header::Local, 107)));
    let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 15));
    assert!(parse(too_long.as_bytes()).is_err());
}

#[test]
fn headers_of_version_2() {
    let ipv6 = [[0x20, 1, 0xd, 0xb8].as_slice(), &[0; 11], &[1], &[0; 15], &[1], &[0, 1, 0, 2]].concat();
    let example = proxied("192.0.2.1:50000", "192.0.2.2:443");
    for (what, bytes, expected) in [
        ("TCP over IPv4", with_fields(&[]), example),
        ("TCP over IPv6", v2(0x21, 0x21, &ipv6), proxied("[2001:db8::1]:1", "[::1]:2")),
        ("fields", with_fields(&[1, 0, 2, b'h', b'2', 4, 0, 0]), example),
        ("LOCAL", v2(0x20, 0, &[]), Header::Local),
        ("LOCAL with addresses", v2(0x20, 0x11, &IPV4), Header::Local),
        ("LOCAL with anything", v2(0x20, 0xff, &[9; 5]), Header::Local),
        ("UNSPEC", v2(0x21, 0, &[]), Header::Local),
        ("UNSPEC with anything", v2(0x21, 0, &[9; 5]), Header::Local),
        ("UDP over IPv4", v2(0x21, 0x12, &IPV4), Header::Local),
        ("UDP over IPv6", v2(0x21, 0x22, &ipv6), Header::Local),
        ("a Unix stream", v2(0x21, 0x31, &[b'a'; 216]), Header::Local),
        ("Unix datagrams", v2(0x21, 0x32, &[b'a'; 216]), Header::Local),
    ] {
        let expected = Ok(Parsed::Header(expected, bytes.len()));
        assert_eq!(parse(&bytes), expected, "{what}");
        assert_eq!(parse(&[&bytes[..], b"GET / HTTP/1.1\r\n"].concat()), expected, "{what}");
    }
    for (what, bytes, expected) in [
        ("version 1", v2(0x11, 0x11, &IPV4), HeaderError::Version(1)),
        ("version 3", v2(0x31, 0x11, &IPV4), HeaderError::Version(3)),
        ("another command", v2(0x22, 0x11, &IPV4), HeaderError::Command(2)),
        ("no transport", v2(0x21, 0x10, &IPV4), HeaderError::Family(0x10)),
        ("no family", v2(0x21, 0x01, &IPV4), HeaderError::Family(0x01)),
        ("another family", v2(0x21, 0x41, &IPV4), HeaderError::Family(0x41)),
        ("another transport", v2(0x21, 0x13, &IPV4), HeaderError::Family(0x13)),
        ("short for IPv4", v2(0x21, 0x11, &IPV4[..11]), HeaderError::Length(27)),
        ("short for IPv6", v2(0x21, 0x21, &ipv6[..35]), HeaderError::Length(51)),
        ("short for Unix", v2(0x21, 0x31, &[0; 215]), HeaderError::Length(231)),
        ("half a field", with_fields(&[1, 0]), HeaderError::Fields),
        ("a field that ends outside", with_fields(&[1, 0, 3, 0, 0]), HeaderError::Fields),
        ("a byte left over", with_fields(&[1, 0, 1, 0, 9]), HeaderError::Fields),
        ("a checksum of three bytes", with_fields(&[3, 0, 3, 0, 0, 0]), HeaderError::Fields),
        ("a wrong checksum", with_fields(&[3, 0, 4, 0, 0, 0, 0]), HeaderError::Checksum),
        ("too long", v2(0x21, 0, &[0; MOST_BYTES]), HeaderError::Length(MOST_BYTES + 16)),
    ] {
        assert_eq!(parse(&bytes), Err(expected), "{what}");
    }
    // Reported at once, although the rest has not arrived: there is no point in waiting.
    let long = [v2::SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
    assert_eq!(parse(&long), Err(HeaderError::Length(16 + 0xffff)));
    assert_eq!(parse(&[v2::SIGNATURE, &[0x31]].concat()), Err(HeaderError::Version(3)));
}

#[test]
fn a_checksum_is_over_the_whole_header() {
    let mut header = with_fields(&[1, 0, 2, b'h', b'2', 3, 0, 4, 0, 0, 0, 0, 4, 0, 1, 0]);
    let sum = crc32c::sum(&header).to_be_bytes();
    header[36..40].copy_from_slice(&sum);
    assert_eq!(parse(&header), Ok(Parsed::Header(proxied("192.0.2.1:50000", "192.0.2.2:443"), header.len())));
    for at in [16, 27, 31, header.len() - 1] {
        let mut damaged = header.clone();
        damaged[at] ^= 1;
        assert_eq!(parse(&damaged), Err(HeaderError::Checksum), "byte {at}");
    }
}

#[test]
fn other_protocols_are_no_header() {
    for bytes in
        [&b"GET / HTTP/1.1\r\n"[..], b"PUT", b"PROXIES", b"proxy TCP4", b"\r\nGET", b"\x16\x03\x01", b"PRI * HTTP/2.0"]
    {
        assert_eq!(parse(bytes), Ok(Parsed::NoHeader), "{bytes:?}");
    }
    for bytes in [&b""[..], b"P", b"PROXY", b"\r\n\r\n", b"\r"] {
        assert_eq!(parse(bytes), Ok(Parsed::Incomplete), "{bytes:?}");
    }
}

#[test]
fn only_who_is_trusted_is_listened_to() {
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|range| range.parse::<ipnet::IpNet>().unwrap()).into_iter().collect();
    let mut policy = Policy { trusted, others: false, timeout: Duration::ZERO };
    for (peer, expected) in [
        ("10.1.2.3", Verdict::Header),
        ("::ffff:10.1.2.3", Verdict::Header),
        ("fd00::1", Verdict::Header),
        ("11.0.0.1", Verdict::Refuse),
        ("::1", Verdict::Refuse),
        ("::ffff:11.0.0.1", Verdict::Refuse),
    ] {
        assert_eq!(policy.verdict(peer.parse().unwrap()), expected, "{peer}");
    }
    policy.others = true;
    assert_eq!(policy.verdict("11.0.0.1".parse().unwrap()), Verdict::Plain);
}

#[test]
fn what_has_no_form_is_written_as_unknown() {
    let mixed = proxied("192.0.2.1:1", "[::1]:2");
    assert_eq!(write(Version::V1, Header::Local), b"PROXY UNKNOWN\r\n");
    assert_eq!(write(Version::V1, mixed), b"PROXY UNKNOWN\r\n");
    assert_eq!(write(Version::V2, Header::Local), v2(0x20, 0, &[]));
    assert_eq!(write(Version::V2, mixed), v2(0x21, 0, &[]));
}

fn pair() -> impl Strategy<Value = Header> {
    let v4 = any::<([u8; 4], [u8; 4], u16, u16)>().prop_map(|(source, destination, from, to)| Header::Proxied {
        source: (source, from).into(),
        destination: (destination, to).into(),
    });
    let v6 = any::<([u8; 16], [u8; 16], u16, u16)>().prop_map(|(source, destination, from, to)| Header::Proxied {
        source: (source, from).into(),
        destination: (destination, to).into(),
    });
    prop_oneof![v4, v6, Just(Header::Local)]
}

proptest! {
    #[test]
    fn what_is_written_is_read(header in pair(), v1: bool, after in vec(any::<u8>(), 0..20)) {
        let bytes = write(if v1 { Version::V1 } else { Version::V2 }, header);
        let expected = Ok(Parsed::Header(header, bytes.len()));
        prop_assert_eq!(parse(&[&bytes[..], &after].concat()), expected);
        for end in 0..bytes.len() {
            prop_assert_eq!(parse(&bytes[..end]), Ok(Parsed::Incomplete), "{} bytes", end);
        }
    }

    #[test]
    fn any_bytes_are_taken_or_refused(bytes in vec(any::<u8>(), 0..300), v1: bool) {
        let start = if v1 { v1::PREFIX } else { v2::SIGNATURE };
        for bytes in [bytes.clone(), [start, &bytes].concat()] {
            if let Ok(Parsed::Header(_, length)) = parse(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }

    #[test]
    fn a_verdict_stays_whatever_follows(bytes in vec(any::<u8>(), 0..60), after in vec(any::<u8>(), 1..60), v1: bool) {
        let bytes = [if v1 { v1::PREFIX } else { v2::SIGNATURE }, &bytes].concat();
        let verdict = parse(&bytes);
        if verdict != Ok(Parsed::Incomplete) {
            prop_assert_eq!(parse(&[&bytes[..], &after].concat()), verdict);
        }
    }
}
