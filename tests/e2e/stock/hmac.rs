//! `hmac`: requests that are signed as RFC 9421 says, by shared keys and by key pairs.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
use gatewright_tests::{Answer, Server, Signer, TestGateway, send};
use serde_json::{Value, json};

const SECRET: &str = "a shared key of more than 32 bytes";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A request, and how it is signed. What a test changes after signing is what an attacker would change.
#[derive(Clone)]
struct Signed {
    method: &'static str,
    target: String,
    host: String,
    body: &'static str,
    headers: Vec<(String, String)>,
}

type Sign<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

fn by_secret(message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), message).as_ref().to_vec()
}

impl Signed {
    fn new(
        gateway: &TestGateway,
        method: &'static str,
        target: &str,
        body: &'static str,
        parameters: &str,
        sign: Sign<'_>,
    ) -> Signed {
        let host = gateway.address().to_string();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut covered = r#""@method" "@authority" "@path" "@query""#.to_owned();
        let mut base =
            format!("\"@method\": {method}\n\"@authority\": {host}\n\"@path\": {path}\n\"@query\": ?{query}\n");
        let mut headers = Vec::new();
        if !body.is_empty() {
            let digest = format!("sha-256=:{}:", BASE64.encode(digest::digest(&digest::SHA256, body.as_bytes())));
            base.push_str(&format!("\"content-digest\": {digest}\n"));
            covered.push_str(r#" "content-digest""#);
            headers.push(("content-digest".to_owned(), digest));
        }
        let input = format!("({covered});{parameters}");
        base.push_str(&format!("\"@signature-params\": {input}"));
        headers.push(("signature-input".to_owned(), format!("sig={input}")));
        headers.push(("signature".to_owned(), format!("sig=:{}:", BASE64.encode(sign(base.as_bytes())))));
        Signed { method, target: target.to_owned(), host, body, headers }
    }

    async fn send(&self, gateway: &TestGateway) -> Answer {
        let mut headers: Vec<(&str, &str)> = self.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        headers.push(("host", &self.host));
        send(gateway.address(), self.method, &self.target, &headers, self.body).await
    }
}

fn parameters(key: &str, nonce: &str) -> String {
    format!("created={};keyid=\"{key}\";nonce=\"{nonce}\"", now())
}

fn gateway(behind: &Server, config: Value) -> TestGateway {
    let who = json!({ "headers": { "request": { "set": { "x-user": "$(identity.subject)" } } } });
    TestGateway::start(json!({
        "upstreams": { "behind": [behind.text()] },
        "routes": [{ "match": {}, "plugins": [{ "hmac": config }, who], "to": "behind" }],
    }))
}

#[tokio::test]
async fn every_kind_of_key_lets_in_who_has_it() {
    let behind = Server::named("behind").await;
    let edwards = Signer::new("edwards");
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let elliptic = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    let point = elliptic.public_key().as_ref();
    let jwk = json!({
        "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..]),
    });
    let gateway = gateway(
        &behind,
        json!({ "keys": [
        { "id": "shop", "alg": "hmac-sha256", "key": SECRET, "subject": "the shop" },
        { "id": "edwards", "alg": "ed25519", "jwk": edwards.jwk() },
        { "id": "elliptic", "alg": "ecdsa-p256-sha256", "jwk": jwk },
    ] }),
    );
    let ecdsa = |message: &[u8]| elliptic.sign(&random, message).unwrap().as_ref().to_vec();
    let eddsa = |message: &[u8]| edwards.sign(message);
    let signers: [(&str, &str, Sign<'_>); 3] =
        [("shop", "the shop", &by_secret), ("edwards", "edwards", &eddsa), ("elliptic", "elliptic", &ecdsa)];
    for (key, subject, sign) in signers {
        for (method, body) in [("GET", ""), ("POST", "a body"), ("DELETE", "")] {
            let parameters = parameters(key, &format!("{key}-{method}"));
            let signed = Signed::new(&gateway, method, "/orders/7?x=%20y&z", body, &parameters, sign);
            let answer = signed.send(&gateway).await;
            assert_eq!(answer.status, 200, "{key} {method}: {}", answer.text());
            let received = behind.received().pop().unwrap();
            assert_eq!(
                (received.header("x-user"), &*received.body),
                (Some(subject), body.as_bytes()),
                "{key} {method}"
            );
            let again = signed.send(&gateway).await;
            again.problem(401);
            assert!(again.text().contains("used before"), "{}", again.text());
        }
        for (other, _, _) in signers.iter().filter(|(other, ..)| *other != key) {
            Signed::new(&gateway, "GET", "/", "", &parameters(other, "x"), sign).send(&gateway).await.problem(401);
        }
    }
    assert_eq!(behind.received().len(), 9);
    assert_eq!(gateway.metric("plugin_hmac_denied", &["reason=\"replayed\""]).await, 9.0);
}

#[tokio::test]
async fn what_was_changed_on_the_way_is_refused() {
    let behind = Server::named("behind").await;
    let gateway = gateway(&behind, json!({ "keys": [{ "id": "shop", "alg": "hmac-sha256", "key": SECRET }] }));
    let created = now();
    let parameters_of_good = format!("created={created};keyid=\"shop\";nonce=\"n\"");
    let good = Signed::new(&gateway, "POST", "/orders/7?x=1", "a body", &parameters_of_good, &by_secret);
    let changed = |change: &dyn Fn(&mut Signed)| {
        let mut signed = good.clone();
        change(&mut signed);
        signed
    };
    let header = |signed: &mut Signed, name: &str, change: &dyn Fn(&str) -> String| {
        let found = signed.headers.iter_mut().find(|(have, _)| have == name).unwrap();
        found.1 = change(&found.1);
    };
    for (what, bad) in [
        ("method", changed(&|it| it.method = "PUT")),
        ("path", changed(&|it| it.target = "/orders/8?x=1".to_owned())),
        ("query", changed(&|it| it.target = "/orders/7?x=2".to_owned())),
        ("more query", changed(&|it| it.target = "/orders/7?x=1&y=1".to_owned())),
        ("host", changed(&|it| it.host = "other.test".to_owned())),
        ("body", changed(&|it| it.body = "A body")),
        ("a longer body", changed(&|it| it.body = "a body and more")),
        ("no body", changed(&|it| it.body = "")),
        ("digest", changed(&|it| header(it, "content-digest", &|_| format!("sha-256=:{}:", BASE64.encode([0; 32]))))),
        ("no digest", changed(&|it| it.headers.retain(|(name, _)| name != "content-digest"))),
        ("a second digest", changed(&|it| it.headers.push(("content-digest".to_owned(), "md5=:AAAA:".to_owned())))),
        ("less covered", changed(&|it| header(it, "signature-input", &|text| text.replace(" \"@query\"", "")))),
        (
            "nothing covered",
            changed(&|it| header(it, "signature-input", &|_| format!("sig=();{}", parameters("shop", "n")))),
        ),
        ("nonce", changed(&|it| header(it, "signature-input", &|text| text.replace("nonce=\"n\"", "nonce=\"m\"")))),
        (
            "created",
            changed(&|it| {
                header(it, "signature-input", &|text| text.replace(&created.to_string(), &(created + 9).to_string()))
            }),
        ),
        ("key", changed(&|it| header(it, "signature-input", &|text| text.replace("\"shop\"", "\"SHOP\"")))),
        ("label", changed(&|it| header(it, "signature", &|text| text.replace("sig=", "sog=")))),
        ("empty signature", changed(&|it| header(it, "signature", &|_| "sig=::".to_owned()))),
        ("cut signature", changed(&|it| header(it, "signature", &|text| format!("{}:", &text[..40])))),
        ("no signature", changed(&|it| it.headers.retain(|(name, _)| name != "signature"))),
        ("unsigned", changed(&|it| it.headers.clear())),
        ("two signatures of a name", changed(&|it| it.headers.push(("signature".to_owned(), "sig=:AAAA:".to_owned())))),
    ] {
        let answer = bad.send(&gateway).await;
        answer.problem(401);
        assert_eq!(answer.header("www-authenticate"), Some("Signature realm=\"api\""), "{what}");
        assert!(behind.received().is_empty(), "{what} went through");
    }
    for (what, parameters) in [
        ("old", format!("created={};keyid=\"shop\";nonce=\"a\"", now() - 400)),
        ("from the future", format!("created={};keyid=\"shop\";nonce=\"a\"", now() + 60)),
        ("expired", format!("created={};expires={};keyid=\"shop\";nonce=\"a\"", now() - 100, now() - 60)),
        ("without a nonce", format!("created={};keyid=\"shop\"", now())),
        ("without a time", "keyid=\"shop\";nonce=\"a\"".to_owned()),
        ("by another algorithm", format!("{};alg=\"rsa-pss-sha512\"", parameters("shop", "a"))),
    ] {
        let signed = Signed::new(&gateway, "GET", "/", "", &parameters, &by_secret);
        let answer = signed.send(&gateway).await;
        assert_eq!((answer.status, behind.received().len()), (401, 0), "{what}");
    }
    // None of that has used the nonce up.
    assert_eq!(good.send(&gateway).await.status, 200);
    assert_eq!(behind.only().body, "a body");
}

/// Over all cores, and on every route with such a list of keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_uses_up_the_room_for_nonces_keeps_no_other_key_out() {
    let behind = Server::named("behind").await;
    let keys = json!([
        { "id": "shop", "alg": "hmac-sha256", "key": SECRET },
        { "id": "billing", "alg": "hmac-sha256", "key": SECRET },
    ]);
    let hmac = |realm: &str| json!({ "hmac": { "keys": keys, "nonces_per_key": 50, "max_age": "1h", "realm": realm } });
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [behind.text()] },
        "routes": [
            { "match": { "path": "/a" }, "plugins": [hmac("a")], "to": "behind" },
            { "match": { "path": "/b" }, "plugins": [hmac("b")], "to": "behind" },
        ],
    }));
    let ask = async |key: &str, nonce: usize| {
        let (method, path, body) = [("GET", "/a", ""), ("POST", "/b", "a body")][nonce % 2];
        let parameters = parameters(key, &nonce.to_string());
        Signed::new(&gateway, method, path, body, &parameters, &by_secret).send(&gateway).await
    };
    for nonce in 0..10 {
        assert_eq!(ask("shop", nonce).await.status, 200, "{nonce}");
    }
    for nonce in 10..30 {
        let refused = ask("shop", nonce).await;
        refused.problem(429);
        assert!(refused.header("retry-after").is_some() && refused.header("www-authenticate").is_none());
    }
    for nonce in 0..10 {
        assert_eq!(ask("billing", nonce).await.status, 200, "{nonce}");
    }
    ask("billing", 11).await.problem(429);
    assert_eq!(behind.received().len(), 20);
    assert_eq!(gateway.metric("plugin_hmac_denied", &["reason=\"share\""]).await, 21.0);
}

#[tokio::test]
async fn a_body_that_is_too_long_to_be_held_is_refused() {
    let behind = Server::named("behind").await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [behind.text()] },
        "plugins": { "hmac": { "limits": { "body": "1KiB" } } },
        "routes": [{ "match": {}, "plugins": [{ "hmac": { "keys": [{ "id": "shop", "alg": "hmac-sha256", "key": SECRET }] } }], "to": "behind" }],
    }));
    let long: &'static str = "x".repeat(2000).leak();
    let signed = Signed::new(&gateway, "POST", "/", long, &parameters("shop", "n"), &by_secret);
    signed.send(&gateway).await.problem(413);
    assert!(behind.received().is_empty());
}

#[test]
fn a_key_that_cannot_be_used_is_a_mistake_in_the_configuration() {
    for (key, words) in [
        (json!({ "id": "a", "alg": "hmac-sha256", "key": "short" }), "at least 32"),
        (json!({ "id": "a", "alg": "hmac-sha256", "secret": "none" }), "is not granted"),
        (json!({ "id": "a", "alg": "ed25519", "pem": "no key" }), "keys[0]"),
        (json!({ "id": "a", "alg": "none", "key": "another key of more than 32 bytes.." }), "alg"),
        (
            json!({ "id": "a", "alg": "hmac-sha256" }),
            "one of the keys \"secret\", \"key\", \"pem\", \"jwk\" is missing",
        ),
    ] {
        let config = json!({ "routes": [{ "match": {}, "plugins": [{ "hmac": { "keys": [key] } }, "echo"] }] });
        let refused = TestGateway::try_start(config).err().unwrap().to_string();
        assert!(refused.contains(words) && !refused.contains(SECRET), "{refused}");
    }
}
