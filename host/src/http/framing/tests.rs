#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { head_bytes: 1000, request_line_bytes: 200, fields: 10 };

/// Passes the pieces one after the other, as a connection does. Returns the bytes used, why it stopped, and the number
/// of complete heads.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Option<Reject>, usize) {
    let mut framing = Framing::new(LIMITS);
    let (mut held, mut all, mut heads) = (Vec::new(), Vec::new(), 0);
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            let length = match framing.next(&held) {
                Ok(Some(Part::Head(head))) => {
                    heads += 1;
                    head.length
                }
                Ok(Some(
                    Part::Blank(length) | Part::Chunking(length) | Part::Data(length) | Part::Trailers(length),
                )) => length,
                Ok(None) => break,
                Err(reject) => return (all, Some(reject), heads),
            };
            all.extend(held.drain(..length));
        }
    }
    (all, None, heads)
}

/// The first head, with its fields.
fn head(input: &str) -> (Head, Vec<(String, String)>) {
    let mut framing = Framing::new(LIMITS);
    let Ok(Some(Part::Head(head))) = framing.next(input.as_bytes()) else { panic!("no head: {input:?}") };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let fields = framing.fields().iter().map(|field| field.parts(input.as_bytes()));
    (head, fields.map(|(name, value)| (text(name), text(value))).collect())
}

/// Reads the input in one piece, byte by byte, and cut at each position: the verdict must not depend on the network.
fn check(input: &[u8], expected: (Option<Reject>, usize)) -> Vec<u8> {
    let (passed, reject, messages) = read([input]);
    let shown = String::from_utf8_lossy(input);
    assert_eq!((reject, messages), expected, "{shown:?}");
    assert_eq!(read(input.chunks(1)), (passed.clone(), reject, messages), "byte by byte: {shown:?}");
    for cut in 0..input.len() {
        let (one, other) = input.split_at(cut);
        assert_eq!(read([one, other]), (passed.clone(), reject, messages), "cut at {cut}: {shown:?}");
    }
    passed
}

#[test]
fn what_is_clear_passes_unchanged() {
    for (input, messages) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        ("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", 2),
        ("GET /a?b=c%20d HTTP/1.1\r\nA:b\r\nC:\t d \t\r\nE:\r\nF: \u{e9}\r\n\r\n", 1),
        ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPOST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n", 2),
        ("POST / HTTP/1.1\r\nContent-Length: 18\r\n\r\nGET /x HTTP/1.1\r\n\nGET / HTTP/1.1\r\n\r\n", 2),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", 2),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a;b = c ; d=\"e;\\\"f\"\r\nhello\r\n0A\r\n0123456789\r\n00\r\nX: y\r\n\r\n",
            1,
        ),
        ("OPTIONS * HTTP/1.1\r\n\r\nGET http://a.b/c HTTP/1.1\r\n\r\nGET /{a}|\u{fc}?`# HTTP/1.1\r\n\r\n", 3),
        ("M-SEARCH / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET / HTTP/1.1\r\n\r\n", 2),
    ] {
        assert_eq!(check(input.as_bytes(), (None, messages)), input.as_bytes());
    }
}

#[test]
fn half_a_part_is_held_back() {
    for (input, passes) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r", ""),
        ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n", ""),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4;aaa",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx",
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        ),
    ] {
        let (passed, reject, _) = read(input.as_bytes().chunks(1));
        assert!(reject.is_none() || passes.is_empty());
        assert_eq!(String::from_utf8_lossy(&passed), passes);
        assert_eq!(read([input.as_bytes()]).0, passed);
    }
}

#[test]
fn the_last_message_ends_the_connection() {
    for input in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nConnection: keep-alive , CLOSE\r\n\r\n",
        "POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    ] {
        let more = format!("{input}GET /next HTTP/1.1\r\n\r\n\0garbage");
        assert_eq!(check(more.as_bytes(), (None, 1)), input.as_bytes());
    }
}

#[test]
fn a_head_says_where_everything_is() {
    let input = "PUT /a?b HTTP/1.1\r\nHost: a\r\nX:\t b c \t\r\nEmpty:\r\nTE: gzip, Trailers;q=1\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\nabc";
    let (head, fields) = head(input);
    assert_eq!((&input[head.line.method()], &input[head.line.target()], head.line.is_http_10), ("PUT", "/a?b", false));
    assert_eq!((head.length, head.content_length), (input.len() - 3, Some(3)));
    assert!(head.expects_continue && head.takes_trailers && !head.asks_for_upgrade);
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    let expected =
        [("Host", "a"), ("X", "b c"), ("Empty", ""), ("TE", "gzip, Trailers;q=1"), ("Expect", "100-Continue")];
    assert_eq!(fields[..5], expected);

    // An old client does not know interim responses.
    let (head, _) = self::head("PUT / HTTP/1.0\r\nExpect: 100-continue\r\nTE: chunked\r\n\r\n");
    assert!(!head.expects_continue && !head.takes_trailers && head.line.is_http_10);
}

#[test]
fn trailers_say_where_they_are() {
    let mut framing = Framing::new(LIMITS);
    let input = "POST / HTTP/1.1\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-One: 1\r\nX-Two:\r\n\r\n";
    let mut rest = input.as_bytes();
    let mut trailers = Vec::new();
    while let Some(part) = framing.next(rest).unwrap() {
        let length = match part {
            Part::Head(head) => head.length,
            Part::Trailers(length) => {
                trailers.extend(framing.fields().iter().map(|field| field.parts(rest)));
                length
            }
            Part::Blank(length) | Part::Chunking(length) | Part::Data(length) => length,
        };
        rest = &rest[length..];
    }
    assert_eq!(trailers, [(&b"X-One"[..], &b"1"[..]), (&b"X-Two"[..], &b""[..])]);
}

#[test]
fn another_protocol_is_asked_for_in_one_way() {
    for (input, is_proper) in [
        ("GET / HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nUpgRade: websocket\r\nConnection: keep-alive\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade, close\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nUpgrade: websocket\r\nConnection: keep-alive, upgrade\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", false),
        ("POST / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\n", false),
        ("POST / HTTP/1.1\r\nConnection: upgrade\r\nTransfer-Encoding: chunked\r\nupgrade: h2c\r\n\r\n", false),
    ] {
        assert_eq!(head(input).0.asks_for_upgrade, is_proper, "{input:?}");
    }
}

#[test]
fn what_is_not_clear_is_refused() {
    use Reject::*;
    let head = |line: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
    for (line, reject) in [
        ("A: b\nC: d", Syntax),
        ("A: b\rC: d", Syntax),
        ("A: b\0", Syntax),
        ("A: b\u{7f}", Syntax),
        ("A: b\u{b}", Syntax),
        ("A: b\r\n folded", Syntax),
        (" A: b", Syntax),
        ("A : b", Syntax),
        ("A\t: b", Syntax),
        (": b", Syntax),
        ("A", Syntax),
        ("A\u{e9}: b", Syntax),
        ("A(b): c", Syntax),
        ("Content-Length: ", ContentLength),
        ("Content-Length: +1", ContentLength),
        ("Content-Length: -1", ContentLength),
        ("Content-Length: 0x1", ContentLength),
        ("Content-Length: 1,1", ContentLength),
        ("Content-Length: 1 1", ContentLength),
        ("Content-Length: 01", ContentLength),
        ("Content-Length: 1\r\nContent-Length: 1", ContentLength),
        ("Content-Length: 9223372036854775808", ContentLength),
        ("Content-Length: 99999999999999999999", ContentLength),
        ("Transfer-Encoding: ", TransferEncoding),
        ("Transfer-Encoding: identity", TransferEncoding),
        ("Transfer-Encoding: xchunked", TransferEncoding),
        ("Transfer-Encoding: chunked;q=1", TransferEncoding),
        ("Transfer-Encoding: \"chunked\"", TransferEncoding),
        ("Transfer-Encoding: chunked, gzip", TransferEncoding),
        ("Transfer-Encoding: chunked, chunked", TransferEncoding),
        ("Transfer-Encoding: ,chunked", TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", TransferEncoding),
        ("Transfer-Encoding: \u{a0}chunked", TransferEncoding),
        ("Transfer-Encoding: gzip, chunked", TransferCoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 1", Ambiguous),
        ("Content-Length: 0\r\nTransfer-Encoding: chunked", Ambiguous),
    ] {
        check(head(line).as_bytes(), (Some(reject), 0));
        // What came before it passes completely.
        let before = "GET /first HTTP/1.1\r\n\r\n";
        assert_eq!(check(format!("{before}{}", head(line)).as_bytes(), (Some(reject), 1)), before.as_bytes());
    }
}

#[test]
fn request_lines_have_one_shape() {
    use Reject::*;
    for (line, reject) in [
        ("GET  / HTTP/1.1", RequestLine),
        (" GET / HTTP/1.1", RequestLine),
        ("GET / HTTP/1.1 ", RequestLine),
        ("GET /", RequestLine),
        ("GET", RequestLine),
        ("GET / a HTTP/1.1", RequestLine),
        ("G\"T / HTTP/1.1", RequestLine),
        ("GET / http/1.1", RequestLine),
        ("GET / HTTP/1.10", RequestLine),
        ("GET / HTTP/0.9", RequestLine),
        ("GET\t/ HTTP/1.1", RequestLine),
        ("\r\nGET / HTTP/1.1", RequestLine),
        ("GET / HTTP/1.2", Version),
        ("PRI * HTTP/2.0", Version),
        ("GET * HTTP/1.1", Target),
        ("GET a HTTP/1.1", Target),
        ("GET a:80 HTTP/1.1", Target),
        ("GET ftp://a/ HTTP/1.1", Target),
        ("GET http:///a HTTP/1.1", Target),
        ("GET http://u:p@a/ HTTP/1.1", Target),
        ("GET /<a> HTTP/1.1", Target),
        ("CONNECT a:443 HTTP/1.1", Tunnel),
        ("CONNECT / HTTP/1.1", Tunnel),
    ] {
        check(format!("\r\n{line}\r\nHost: a\r\n\r\n").as_bytes(), (Some(reject), 0));
    }
    check(b"GET /\xff HTTP/1.1\r\n\r\n", (Some(Target), 0));
    check(b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", (Some(TransferEncoding), 0));
    check(b"\x16\x03\x01\x02\0\x01", (Some(Syntax), 0));
}

#[test]
fn chunks_have_one_shape() {
    use Reject::*;
    for (body, reject) in [
        ("\r\n", Chunk),
        ("x\r\n", Chunk),
        (" 1\r\nx\r\n", Chunk),
        ("1 \r\nx\r\n", Chunk),
        ("0x1\r\nx\r\n", Chunk),
        ("-1\r\n", Chunk),
        ("1\nx\r\n", Chunk),
        ("1\r\nx\n0\r\n\r\n", Chunk),
        ("1\r\nxy\r\n", Chunk),
        ("1\r\r\nx\r\n", Chunk),
        ("1;\r\nx\r\n", Chunk),
        ("1;a=\r\nx\r\n", Chunk),
        ("1;a=\"b\r\nx\r\n", Chunk),
        ("1;a\0\r\nx\r\n", Chunk),
        ("1;a\r b\r\nx\r\n", Chunk),
        ("1 a\r\nx\r\n", Chunk),
        ("1_0\r\nx\r\n", Chunk),
        ("1000000000000000\r\n", Chunk),
        ("0\r\nA : b\r\n\r\n", Syntax),
        ("0\r\n a: b\r\n\r\n", Syntax),
        ("0\r\nA: b\n\r\n", Syntax),
        ("0\r\nContent-Length: 1\r\n\r\n", Trailer),
        ("0\r\nhost: b\r\n\r\n", Trailer),
        ("0\r\nTransfer-Encoding: chunked\r\n\r\n", Trailer),
    ] {
        let input = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        check(input.as_bytes(), (Some(reject), 1));
    }
}

#[test]
fn limits_hold() {
    let of = |line: usize, field: usize, fields: usize| {
        let fields = format!("A: {}\r\n", "x".repeat(field)).repeat(fields);
        format!("GET /{} HTTP/1.1\r\n{fields}\r\n", "x".repeat(line))
    };
    let long_chunk_line = |length: usize| {
        format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;{}\r\nx\r\n", "a".repeat(length))
    };
    let trailers = |count: usize| {
        let trailers = "A: b\r\n".repeat(count);
        format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{trailers}\r\n")
    };
    for (input, reject) in [
        (of(186, 1, 1), None),
        (of(187, 1, 1), Some(Reject::TargetTooLong)),
        (of(1, 1, 10), None),
        (of(1, 1, 11), Some(Reject::HeadTooLarge)),
        (of(1, 90, 10), None),
        (of(1, 100, 10), Some(Reject::HeadTooLarge)),
        (long_chunk_line(1022), None),
        (long_chunk_line(1023), Some(Reject::Chunk)),
        (trailers(10), None),
        (trailers(11), Some(Reject::Trailer)),
    ] {
        assert_eq!(read([input.as_bytes()]).1, reject, "{input}");
        assert_eq!(read(input.as_bytes().chunks(1)).1, reject, "{input}");
    }
    // A line that never ends is refused before much of it is held.
    let endless = vec![b'a'; 5000];
    assert_eq!(read(endless.chunks(7)).1, Some(Reject::TargetTooLong));
}

#[test]
fn control_characters_are_found_wherever_they_are() {
    for length in 0..40 {
        let clean: Vec<u8> = (0..length).map(|at| b"a \t~\x80\xff!\t"[at % 8]).collect();
        assert_eq!(first_control(&clean), None);
        for at in 0..length {
            for control in (0..0x20).filter(|&byte| byte != b'\t').chain([0x7f]) {
                let mut bytes = clean.clone();
                bytes[at] = control;
                assert_eq!(first_control(&bytes), Some(at));
                bytes[length - 1] = b'\n';
                assert_eq!(first_control(&bytes), Some(at));
            }
        }
    }
}

/// Pieces of messages, good and bad, so that random sequences of them get far.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => Just("\r\n"),
        4 => Just("POST / HTTP/1.1\r\n"),
        2 => Just("Host: a\r\n"),
        2 => Just("Transfer-Encoding: chunked\r\n\r\n"),
        2 => Just("Content-Length: 5\r\n\r\n"),
        2 => Just("5\r\nhello\r\n"),
        2 => Just("0\r\n\r\n"),
        1 => Just("Connection: close\r\n"),
        1 => Just("Content-Length: 0\r\n"),
        1 => Just("hello"),
        1 => Just("\n"),
        1 => Just("\r"),
        1 => Just(" "),
        1 => Just(":"),
        1 => Just("5;a=\"b\""),
        1 => Just("\0"),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_verdict_does_not_depend_on_the_cuts(input in pieces(), sizes in proptest::collection::vec(1..9_usize, 1..200)) {
        let whole = read([&input[..]]);
        let mut rest = &input[..];
        let cut = sizes.iter().cycle().map_while(|&size| {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            rest = after;
            (!piece.is_empty()).then_some(piece)
        });
        prop_assert_eq!(read(cut), whole);
    }

    #[test]
    fn nothing_panics(input in proptest::collection::vec(any::<u8>(), 0..300), cut in 0..300_usize) {
        let (one, other) = input.split_at(cut.min(input.len()));
        prop_assert_eq!(read([one, other]), read([&input[..]]));
    }
}
