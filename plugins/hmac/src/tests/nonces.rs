//! A key's share of the room for nonces.

use super::*;
use crate::nonces::{PARTS, share};

/// Signed by `ada` or by another owner of a shared key.
fn signed_by(gateway: &Double, key: &str, nonce: &str, now: u64) -> Request {
    let input = format!(r#"{COVERED};created={now};keyid="{key}";nonce="{nonce}""#);
    gateway.signature(key, "HS256", &format!("{LINES}\"@signature-params\": {input}"), b"right");
    get()
        .header("signature-input", &format!("sig1={input}"))
        .header("signature", &format!("sig1=:{}:", STANDARD.encode("right")))
}

/// The status, 200 if let in, and the reason if one is counted.
fn outcome(gateway: &Double, hmac: &Hmac, request: Request) -> (u16, String) {
    gateway.receive(request);
    match gateway.on_request(hmac) {
        Decision::Proceed => (200, String::new()),
        Decision::Respond(response) => (response.status.as_u16(), gateway.measures().last().unwrap().labels.join("")),
        Decision::Abort => panic!("aborted"),
    }
}

fn answer(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

#[test]
fn who_uses_up_a_share_keeps_nobody_else_out() {
    let (gateway, hmac) = gateway(r#", "nonces_per_key": 15"#);
    let ask = |key: &str, nonce: &str, now: u64| outcome(&gateway, &hmac, signed_by(&gateway, key, nonce, now));
    for nonce in ["1", "2", "3"] {
        assert_eq!(ask("ada", nonce, NOW), answer(200, ""));
    }
    let refused = signed_by(&gateway, "ada", "4", NOW);
    gateway.receive(refused.clone());
    let Decision::Respond(response) = gateway.on_request(&hmac) else { panic!("let in") };
    assert_eq!((response.status, response.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, Some("60")));
    assert_eq!(response.header("www-authenticate"), None, "the signature is good");
    assert!(str::from_utf8(&response.body).unwrap().contains("no more nonces"), "{response:?}");
    assert_eq!((gateway.measures().last().unwrap().labels.join(""), gateway.identity()), ("share".to_owned(), None));
    let line = gateway.lines().pop().unwrap();
    assert!(line.fields.contains(&("key".to_owned(), "ada".to_owned())), "{line:?}");
    for nonce in ["1", "2", "3"] {
        assert_eq!(ask("bob", nonce, NOW), answer(200, ""), "not its share");
    }
    assert_eq!(ask("ada", "1", NOW), answer(401, "replayed"));

    // A quarter of the six minutes later the key has a fifth of its share again, and the refused nonces were not used.
    gateway.advance(Duration::from_secs(89));
    assert_eq!(ask("ada", "5", NOW + 89), answer(429, "share"));
    gateway.advance(Duration::from_secs(1));
    assert_eq!(outcome(&gateway, &hmac, refused.clone()), answer(200, ""));
    assert_eq!(outcome(&gateway, &hmac, refused), answer(401, "replayed"));
    assert_eq!(ask("ada", "3", NOW), answer(401, "replayed"), "used nonces are not forgotten with the count");
}

#[test]
fn what_is_sent_again_takes_nothing_from_a_share() {
    let (gateway, hmac) = gateway(r#", "nonces_per_key": 10"#);
    let ask = |nonce: &str| outcome(&gateway, &hmac, signed_by(&gateway, "ada", nonce, NOW));
    assert_eq!(ask("1"), answer(200, ""));
    for _ in 0..20 {
        assert_eq!(ask("1"), answer(401, "replayed"));
    }
    assert_eq!(ask("2"), answer(200, ""));
    assert_eq!(ask("3"), answer(429, "share"));
}

#[test]
fn never_is_more_of_a_key_in_the_store_than_its_share() {
    let (gateway, hmac) = gateway(r#", "nonces_per_key": 25, "max_age": "36s", "leeway": "0s""#);
    // How many were let in for each second: as many as ask, so each quarter is used up as it begins.
    let mut admitted: Vec<usize> = Vec::new();
    for second in 0..200_u64 {
        let ask = |count: u64| {
            let request = signed_by(&gateway, "ada", &format!("{second}-{count}"), NOW + second);
            outcome(&gateway, &hmac, request).0 == 200
        };
        // An irregular rhythm, so that quarters do not begin at whole seconds of the cycle.
        let asked = if second % 7 == 0 { 9 } else { second % 3 };
        admitted.push((0..asked).filter(|count| ask(*count)).count());
        gateway.advance(Duration::from_secs(1));
    }
    let most = admitted.windows(36).map(|seconds| seconds.iter().sum::<usize>()).max().unwrap();
    assert!((20..=25).contains(&most), "{most}");
}

#[test]
fn a_body_that_is_bound_takes_from_the_share_when_it_is_there() {
    let (gateway, hmac) = gateway(r#", "nonces_per_key": 5"#);
    let digest = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
    let covered = r#"("@method" "@authority" "@path" "@query" "content-digest")"#;
    let lines = format!("{}\"content-digest\": {digest}\n", LINES.replace("GET", "POST"));
    let send = |nonce: &str| {
        let input = format!(r#"{covered};created={NOW};keyid="ada";nonce="{nonce}""#);
        let request = Request::post("/a?b=1").authority("shop.test").header("content-digest", digest);
        gateway.receive(signed(&gateway, request, &input, &lines));
        assert_eq!(gateway.on_request(&hmac), Decision::Proceed);
        gateway.request_body(&hmac, &[b"{\"hello\": \"world\"}"])
    };
    assert!(send("1").is_ok());
    let Err(BodyDecision::Respond(refused)) = send("2") else { panic!("let in") };
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
}

#[test]
fn all_shares_have_room_in_the_store() {
    // As in `docs/plugins/hmac.md`: bytes of the store, and of a nonce and a count including the store's overhead for
    // each.
    let (store, nonce, count) = (16 << 20, 6 + 64 + 192, 6 + 8 + 1 + 64 + 20 + 192);
    for keys in 1..=15 {
        let used = keys * (share(keys) as usize * nonce + count);
        assert!(used <= store && keys * (share(keys) as usize + 1) <= 65_536, "{keys}: {used}");
    }
    assert_eq!((share(0), share(1), share(2), share(15)), (60_000, 60_000, 30_000, 4_000));
    assert_eq!((share(16), share(100_000)), (4_000, 4_000), "of more, no one alone fills the store");
    assert!(share(usize::MAX) >= PARTS);
}
