use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

/// The first flight of a real client.
fn real(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

fn u16_prefixed(bytes: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    out
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut out = kind.to_be_bytes().to_vec();
    out.extend(u16_prefixed(data));
    out
}

/// The `server_name` extension with these names, each with its type.
fn names(names: &[(u8, &[u8])]) -> Vec<u8> {
    let list: Vec<u8> =
        names.iter().flat_map(|(kind, name)| std::iter::once(*kind).chain(u16_prefixed(name))).collect();
    extension(0, &u16_prefixed(&list))
}

/// A ClientHello message with these extensions, which have their own framing.
fn hello(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 2, 0x13, 0x01]);
    body.extend([1, 0]);
    body.extend_from_slice(extensions);
    message(1, &body)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let mut out = vec![kind, length[1], length[2], length[3]];
    out.extend_from_slice(body);
    out
}

/// The message in records of at most this many bytes.
fn records(message: &[u8], fragment: usize) -> Vec<u8> {
    message.chunks(fragment).flat_map(|chunk| [vec![22, 3, 1], u16_prefixed(chunk)].concat()).collect()
}

fn read(bytes: &[u8]) -> Result<Option<ClientHello>, HelloError> {
    Reader::default().push(bytes)
}

fn named(name: &str) -> Result<Option<ClientHello>, HelloError> {
    Ok(Some(ClientHello { server_name: Some(name.into()) }))
}

#[test]
fn real_clients_are_understood() {
    assert_eq!(read(&real("a.example.com")), named("a.example.com"));
    assert_eq!(read(&real("A.Example.COM")), named("a.example.com"));
    assert_eq!(read(&real("127.0.0.1")), Ok(Some(ClientHello::default())));
}

#[test]
fn a_hello_may_have_no_name_and_no_extensions() {
    assert_eq!(read(&records(&hello(&[]), 1000)), Ok(Some(ClientHello::default())));
    assert_eq!(read(&records(&hello(&u16_prefixed(&[])), 1000)), Ok(Some(ClientHello::default())));
    let others = [extension(16, &[0, 3, 2, b'h', b'2']), extension(0x0a0a, &[])].concat();
    assert_eq!(read(&records(&hello(&u16_prefixed(&others)), 1000)), Ok(Some(ClientHello::default())));
    let with_name = [others, names(&[(0, b"b.example")])].concat();
    assert_eq!(read(&records(&hello(&u16_prefixed(&with_name)), 1000)), named("b.example"));
}

#[test]
fn what_no_client_sends_is_refused() {
    use HelloError::*;
    let with = |extensions: &[u8]| records(&hello(&u16_prefixed(extensions)), 1 << 14);
    let one = names(&[(0, b"a.example")]);
    let long = vec![b'a'; 254];
    for (what, bytes, expected) in [
        ("HTTP", b"GET / HTTP/1.1\r\n".to_vec(), NotTls),
        ("SSLv2", vec![0x80, 0x2e, 1, 3, 1], NotTls),
        ("application data", vec![23, 3, 3, 0, 1], NotTls),
        ("an alert", vec![21, 3, 3, 0, 2, 2, 0], NotTls),
        ("TLS 4", vec![22, 4, 0], NotTls),
        ("an empty record", vec![22, 3, 1, 0, 0], RecordLength(0)),
        ("a long record", vec![22, 3, 1, 0x40, 1], RecordLength(16385)),
        ("a ServerHello", records(&message(2, &[0; 40]), 100), NotHello(2)),
        ("HelloRequest first", records(&[message(0, &[]), hello(&[])].concat(), 1000), NotHello(0)),
        ("an announced 16 MiB", records(&[1, 255, 255, 255], 100), TooLong),
        ("two hellos", records(&[hello(&[]), hello(&[])].concat(), 1000), Malformed("another message in its record")),
        (
            "half a message after",
            records(&[hello(&[]), vec![9]].concat(), 1000),
            Malformed("another message in its record"),
        ),
        ("an empty hello", records(&message(1, &[]), 100), Malformed("version")),
        ("a version", records(&message(1, &[2, 0]), 100), Malformed("version")),
        ("a short random", records(&message(1, &[3, 3, 1]), 100), Malformed("random")),
        (
            "a long session",
            records(&message(1, &[[3, 3].as_slice(), &[0; 32], &[33], &[0; 90]].concat()), 1000),
            Malformed("session id"),
        ),
        (
            "no suites",
            records(&message(1, &[[3, 3].as_slice(), &[0; 33], &[0, 0, 1, 0]].concat()), 1000),
            Malformed("cipher suites"),
        ),
        (
            "odd suites",
            records(&message(1, &[[3, 3].as_slice(), &[0; 33], &[0, 1, 9, 1, 0]].concat()), 1000),
            Malformed("cipher suites"),
        ),
        (
            "no compression",
            records(&message(1, &[[3, 3].as_slice(), &[0; 33], &[0, 2, 9, 9, 0]].concat()), 1000),
            Malformed("compression methods"),
        ),
        (
            "bytes behind the extensions",
            records(&hello(&[u16_prefixed(&one), vec![0]].concat()), 1000),
            Malformed("extensions"),
        ),
        ("an extension cut off", with(&one[..one.len() - 1]), Malformed("extension")),
        ("half an extension", with(&[0]), Malformed("extension")),
        ("two server_name extensions", with(&[one.clone(), one.clone()].concat()), Malformed("server name twice")),
        ("an empty list", with(&extension(0, &[0, 0])), Malformed("server name")),
        ("an empty extension", with(&extension(0, &[])), Malformed("server name")),
        ("two names", with(&names(&[(0, b"a.example"), (0, b"b.example")])), Malformed("server name")),
        ("another type", with(&names(&[(1, b"a.example")])), Malformed("server name")),
        ("bytes behind the list", with(&extension(0, &[0, 4, 0, 0, 1, b'a', 0])), Malformed("server name")),
        ("an empty name", with(&names(&[(0, b"")])), Name),
        ("a dot at the end", with(&names(&[(0, b"a.example.")])), Name),
        ("a dot at the begin", with(&names(&[(0, b".example")])), Name),
        ("NUL in it", with(&names(&[(0, b"a\0.example")])), Name),
        ("a newline in it", with(&names(&[(0, b"a\r\n.example")])), Name),
        ("a wildcard", with(&names(&[(0, b"*.example")])), Name),
        ("not ASCII", with(&names(&[(0, "é.example".as_bytes())])), Name),
        ("an IPv6 address", with(&names(&[(0, b"::1")])), Name),
        ("too long", with(&names(&[(0, &long)])), Name),
    ] {
        assert_eq!(read(&bytes), Err(expected), "{what}");
    }
}

#[test]
fn bytes_without_end_are_refused_in_time() {
    // Records of one byte each, and a message that announces the maximum length and never ends.
    let length = u32::try_from(MOST_MESSAGE_BYTES).unwrap().to_be_bytes();
    let endless = [&[1, length[1], length[2], length[3]][..], &[0; MOST_MESSAGE_BYTES]].concat();
    let mut reader = Reader::default();
    let refused = records(&endless, 1).chunks(7).find_map(|piece| reader.push(piece).err());
    assert_eq!(refused, Some(HelloError::TooLong));
    assert!(reader.raw.len() <= MOST_BYTES + 7);
    assert!(reader.message.len() <= MOST_MESSAGE_BYTES);
}

#[test]
fn what_follows_the_hello_is_kept_and_not_looked_at() {
    let mut reader = Reader::default();
    let bytes = [real("a.example"), b"whatever a client may send early".to_vec()].concat();
    assert!(reader.push(&bytes).unwrap().is_some());
    assert_eq!(reader.into_bytes(), bytes);
}

proptest! {
    #[test]
    fn however_it_is_cut_it_is_the_same_hello(fragment in 1..3000usize, pieces in vec(1..700usize, 1..20)) {
        let whole = hello(&u16_prefixed(&[extension(21, &[0; 1800]), names(&[(0, b"a.example")])].concat()));
        let bytes = records(&whole, fragment);
        let mut reader = Reader::default();
        let (mut rest, mut pieces) = (bytes.as_slice(), pieces.into_iter().cycle());
        let mut found = Ok(None);
        while !rest.is_empty() && found == Ok(None) {
            let (piece, left) = rest.split_at(pieces.next().unwrap().min(rest.len()));
            found = reader.push(piece);
            rest = left;
            if !rest.is_empty() {
                prop_assert_eq!(&found, &Ok(None), "before the end");
            }
        }
        prop_assert_eq!(found, named("a.example"));
        prop_assert_eq!(reader.into_bytes(), bytes);
    }

    #[test]
    fn a_hello_that_is_cut_off_is_never_one(cut in 0.0..1.0f64) {
        let bytes = real("a.example.com");
        let cut = (bytes.len() as f64 * cut) as usize;
        prop_assert_eq!(read(&bytes[..cut]), Ok(None));
    }

    #[test]
    fn damaged_bytes_never_panic_nor_give_a_name_that_is_none(
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = real("a.example.com");
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1).max(bytes.len() / 2));
        if let Ok(Some(ClientHello { server_name: Some(name) })) = read(&bytes) {
            prop_assert!(is_host_name(name.as_bytes()) && *name == name.to_ascii_lowercase());
        }
    }

    #[test]
    fn any_bytes_are_taken_or_refused(bytes in vec(any::<u8>(), 0..4000), body in vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
        let _ = parse(&body);
        let _ = read(&[&[22, 3, 1][..], &u16_prefixed(&message(1, &body))].concat());
    }
}
