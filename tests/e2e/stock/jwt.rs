//! `jwt`: the attacks on tokens that are known, from the socket on. The upstream must see none of them.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD as BASE64};
use gatewright_tests::{Client, Server, Signer, TestGateway, send};
use serde_json::{Value, json};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A token as it stands: header and claims as text, signed by `sign`.
fn token(header: &str, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    let signature = BASE64.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn mac(secret: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    move |message| hmac::sign(&key, message).as_ref().to_vec()
}

struct Guarded {
    gateway: TestGateway,
    behind: Server,
    /// Whom a token could make the gateway ask.
    bystander: Server,
    signer: Signer,
}

impl Guarded {
    async fn start() -> Guarded {
        let (behind, bystander) = (Server::named("behind").await, Server::named("bystander").await);
        let signer = Signer::new("one");
        let jwt = json!({ "jwt": {
            "issuer": "me", "audience": "api", "algorithms": ["EdDSA"], "keys": [{ "jwk": signer.jwk() }],
            "claims_to_headers": { "x-user": "sub" },
        } });
        let gateway = TestGateway::start(json!({
            "upstreams": { "behind": [behind.text()] },
            "routes": [{ "match": {}, "plugins": [jwt], "to": "behind" }],
        }));
        Guarded { gateway, behind, bystander, signer }
    }

    fn claims(&self) -> Value {
        json!({ "iss": "me", "aud": "api", "sub": "ada", "exp": now() + 300 })
    }

    fn with(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims();
        claims[name] = value;
        claims.to_string()
    }

    fn signed(&self, header: &str, claims: &str) -> String {
        token(header, claims, |message| self.signer.sign(message))
    }

    async fn refuses(&self, what: &str, token: &str) {
        let headers = [("authorization", format!("Bearer {token}")), ("x-user", "root".to_owned())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let answer = self.gateway.get_with("/", &headers).await;
        answer.problem(401);
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer realm="), "{what}");
        assert!(self.behind.received().is_empty(), "{what} went through");
        assert!(self.bystander.received().is_empty(), "{what} made the gateway ask somebody");
    }
}

const HEADER: &str = r#"{"alg":"EdDSA","kid":"one"}"#;

#[tokio::test]
async fn a_signature_is_needed_and_by_a_key_of_ours() {
    let guarded = Guarded::start().await;
    let claims = guarded.claims().to_string();
    let public = guarded.signer.jwk()["x"].as_str().unwrap().to_owned();
    for name in ["none", "None", "NONE", "nOnE", ""] {
        for signature in ["", "AA", "none"] {
            let header = format!(r#"{{"alg":"{name}","kid":"one"}}"#);
            let unsigned = token(&header, &claims, |_| Vec::new());
            guarded.refuses(&format!("alg {name:?}"), &format!("{unsigned}{signature}")).await;
        }
    }
    for (what, secret) in [
        ("the public key's text", public.clone().into_bytes()),
        ("the public key", BASE64.decode(&public).unwrap()),
        ("the key set", guarded.signer.jwks().to_string().into_bytes()),
        ("nothing", Vec::new()),
    ] {
        let confused = token(r#"{"alg":"HS256","kid":"one"}"#, &claims, mac(&secret));
        guarded.refuses(&format!("HS256 with {what} as the secret"), &confused).await;
    }
    let stranger = Signer::new("one");
    guarded.refuses("a key of the same name", &token(HEADER, &claims, |message| stranger.sign(message))).await;
    let good = guarded.signed(HEADER, &claims);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let zeros = BASE64.encode([0; 64]);
    for (what, bad) in [
        ("an empty signature", format!("{message}.")),
        ("no signature", message.to_owned()),
        ("zeros", format!("{message}.{zeros}")),
        ("half a signature", format!("{message}.{}", &signature[..40])),
        ("two signatures", format!("{good}.{signature}")),
        (
            "another payload",
            format!("{}.{}.{signature}", BASE64.encode(HEADER), BASE64.encode(guarded.with("sub", json!("root")))),
        ),
    ] {
        guarded.refuses(what, &bad).await;
    }
}

#[tokio::test]
async fn what_a_header_says_of_keys_is_not_followed() {
    let guarded = Guarded::start().await;
    let claims = guarded.claims().to_string();
    let stranger = Signer::new("one");
    let address = format!("http://{}/keys.json", guarded.bystander.text());
    for (name, value) in [
        ("jwk", stranger.jwk()),
        ("jku", json!(address)),
        ("x5u", json!(address)),
        ("x5c", json!([STANDARD.encode("certificate")])),
        ("kid", json!(address)),
        ("kid", json!("../../../../../../dev/null")),
        ("kid", json!("/etc/passwd")),
        ("kid", json!("' UNION SELECT 'secret' --")),
        ("kid", json!("one\0")),
        ("kid", json!("|sleep 10")),
        ("kid", json!(["one"])),
        ("kid", json!(1)),
        ("kid", json!("k".repeat(3000))),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
    ] {
        let mut header = json!({ "alg": "EdDSA", "kid": "one" });
        header[name] = value.clone();
        let forged = token(&header.to_string(), &claims, |message| stranger.sign(message));
        guarded.refuses(&format!("{name} {value}"), &forged).await;
        if matches!(value.as_str(), Some("../../../../../../dev/null")) {
            guarded.refuses("a key that is an empty file", &token(&header.to_string(), &claims, mac(b""))).await;
        }
    }
}

#[tokio::test]
async fn claims_mean_one_thing_or_nothing() {
    let guarded = Guarded::start().await;
    let later = now() + 300;
    for (what, claims) in [
        ("exp as text", guarded.with("exp", json!(later.to_string()))),
        ("exp in a list", guarded.with("exp", json!([later]))),
        ("exp null", guarded.with("exp", Value::Null)),
        ("exp true", guarded.with("exp", json!(true))),
        ("exp negative", guarded.with("exp", json!(-1))),
        ("exp over", guarded.with("exp", json!(now() - 1))),
        ("exp too large for a number", guarded.claims().to_string().replace(&later.to_string(), "1e999")),
        ("no exp", json!({ "iss": "me", "aud": "api", "sub": "ada" }).to_string()),
        ("nbf in the future", guarded.with("nbf", json!(later))),
        ("nbf as text", guarded.with("nbf", json!("0"))),
        ("iat in the future", guarded.with("iat", json!(later))),
        ("two exp", format!(r#"{{"iss":"me","aud":"api","exp":{later},"exp":{later}}}"#)),
        ("two sub", format!(r#"{{"iss":"me","aud":"api","exp":{later},"sub":"ada","sub":"root"}}"#)),
        ("two sub, one escaped", format!(r#"{{"iss":"me","aud":"api","exp":{later},"sub":"ada","\u0073ub":"root"}}"#)),
        ("another issuer", guarded.with("iss", json!("me "))),
        ("issuers", guarded.with("iss", json!(["me"]))),
        ("another audience", guarded.with("aud", json!("API"))),
        ("an audience in an object", guarded.with("aud", json!({ "api": true }))),
        ("a list", format!("[{}]", guarded.claims())),
        ("text", "\"ada\"".to_owned()),
        ("nothing", String::new()),
        ("two objects", format!("{0}{0}", guarded.claims())),
        ("deep", format!(r#"{{"a":{}1{},"exp":{later}}}"#, "[".repeat(2000), "]".repeat(2000))),
    ] {
        guarded.refuses(what, &guarded.signed(HEADER, &claims)).await;
    }
    let endless = format!("Bearer {}", guarded.signed(HEADER, r#"{"iss":"me","aud":"api","sub":"ada"}"#));
    let answer = guarded.gateway.get_with("/", &[("authorization", endless.as_str())]).await;
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.ends_with(r#"error_description="the token has no exp""#), "{challenge}");
    let claims = guarded.claims().to_string();
    for (what, header) in [
        ("two alg", r#"{"alg":"none","alg":"EdDSA","kid":"one"}"#),
        ("alg in a list", r#"{"alg":["EdDSA"],"kid":"one"}"#),
        ("no alg", r#"{"kid":"one"}"#),
        ("another alg", r#"{"alg":"ES256","kid":"one"}"#),
        ("no JSON", "EdDSA"),
    ] {
        guarded.refuses(what, &guarded.signed(header, &claims)).await;
    }
}

#[tokio::test]
async fn a_token_has_one_form() {
    let guarded = Guarded::start().await;
    let good = guarded.signed(HEADER, &guarded.claims().to_string());
    let (header, rest) = good.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let padded = |part: &str| URL_SAFE.encode(BASE64.decode(part).unwrap());
    let last = signature.chars().last().unwrap();
    // The last digit of 64 bytes has four bits that mean nothing.
    let loose = char::from(u32::from(last).try_into().map(|byte: u8| byte + 1).unwrap());
    for (what, bad) in [
        ("padding in the signature", format!("{header}.{payload}.{}", padded(signature))),
        ("padding in the header", format!("{}=.{payload}.{signature}", header)),
        ("bits that mean nothing", format!("{header}.{payload}.{}{loose}", &signature[..signature.len() - 1])),
        ("base64 of another alphabet", format!("{header}.{payload}.{}+/", &signature[..signature.len() - 2])),
        ("a dot more", format!("{good}.")),
        ("a dot before", format!(".{good}")),
        ("an empty part", format!("{header}..{signature}")),
        ("a blank inside", format!("{header}. {payload}.{signature}")),
        ("quotes", format!("\"{good}\"")),
        ("JSON serialisation", json!({ "protected": header, "payload": payload, "signature": signature }).to_string()),
        ("five parts, as an encrypted one has", format!("{header}.{payload}.{signature}.{payload}.{signature}")),
        ("a huge one", format!("{header}.{}.{signature}", "A".repeat(20_000))),
        ("two tokens", format!("{good}, Bearer {good}")),
    ] {
        guarded.refuses(what, &bad).await;
    }
    let bearer = format!("Bearer {good}");
    let mut client = Client::http1(guarded.gateway.address()).await;
    let twice = [("authorization", bearer.as_str()), ("authorization", bearer.as_str())];
    client.send("GET", "/", &twice, "").await.unwrap().problem(401);
    assert!(guarded.behind.received().is_empty());
    // And the one form is accepted.
    assert_eq!(guarded.gateway.get_with("/", &[("authorization", &bearer)]).await.status, 200);
    assert_eq!(guarded.behind.only().header("x-user"), Some("ada"));
}

#[tokio::test]
async fn a_token_is_found_where_it_should_be_and_nowhere_else() {
    let behind = Server::named("behind").await;
    let signer = Signer::new("one");
    let places = [json!({ "header": "x-token" }), json!({ "cookie": "token" }), json!({ "query": "token" })];
    let route = |(at, place): (usize, &Value)| {
        let jwt = json!({ "algorithms": ["EdDSA"], "keys": [{ "jwk": signer.jwk() }], "from": place });
        json!({ "match": { "path": format!("/{at}") }, "plugins": [{ "jwt": jwt }], "to": "behind" })
    };
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [behind.text()] },
        "routes": places.iter().enumerate().map(route).collect::<Vec<_>>(),
    }));
    let good = signer.token(json!({ "sub": "ada" }));
    let (cookie, bearer) = (format!("a=1; token={good}"), format!("Bearer {good}"));
    let sent = |place: usize| match place {
        0 => (String::new(), ("x-token", good.as_str())),
        1 => (String::new(), ("cookie", cookie.as_str())),
        2 => (format!("?a=1&token={good}"), ("x-a", "1")),
        _ => (String::new(), ("authorization", bearer.as_str())),
    };
    for route in 0..places.len() {
        for place in 0..=places.len() {
            let (query, header) = sent(place);
            let answer = gateway.get_with(&format!("/{route}{query}"), &[header]).await;
            assert_eq!(answer.status == 200, route == place, "route {route}, token in {place}");
        }
        let received = behind.received().pop().unwrap();
        assert!(!format!("{received:?}").contains(&good), "the upstream sees the token: {received:?}");
    }
    for (path, headers) in [
        (format!("/2?token={good}&token={good}"), vec![]),
        ("/1".to_owned(), vec![("cookie", cookie.as_str()), ("cookie", cookie.as_str())]),
    ] {
        send(gateway.address(), "GET", &path, &headers, "").await.problem(401);
    }
}

#[test]
fn a_key_set_without_an_issuer_is_told_that_the_issuer_is_missing() {
    for (jwt, said) in [
        (json!({ "algorithms": ["EdDSA"], "jwks": "https://id.test/keys" }), "the key \"issuer\" is missing"),
        (json!({ "algorithms": ["EdDSA"], "jwks_file": "keys.json" }), "the key \"issuer\" is missing"),
        (
            json!({ "algorithms": ["EdDSA"] }),
            "one of the keys \"keys\", \"jwks\", \"jwks_file\", \"discovery\" is missing",
        ),
    ] {
        let config = json!({ "routes": [{ "match": {}, "plugins": [{ "jwt": jwt }, "echo"] }] });
        let refused = TestGateway::try_start(config).err().unwrap().to_string();
        assert!(refused.contains(said), "{refused}");
    }
}

/// The attack tokens of the public suites, where they are present.
#[tokio::test]
async fn suite_attack_tokens_through_the_gateway() {
    let Some(suites) = std::env::var_os("GATEWRIGHT_SUITES") else { return };
    let text = std::fs::read_to_string(PathBuf::from(suites).join("jwt/derived_attack_tokens.json")).unwrap();
    let suite: Value = serde_json::from_str(&text).unwrap();
    let behind = Server::named("behind").await;
    let folder = tempfile::tempdir().unwrap();
    let mut routes = Vec::new();
    for config in suite["configs"].as_array().unwrap() {
        let id = config["id"].as_str().unwrap();
        let file = folder.path().join(format!("{id}.json"));
        std::fs::write(&file, config["jwks"].to_string()).unwrap();
        let algorithms = config["allowed_algs"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        let (shared, public): (Vec<_>, Vec<_>) = algorithms.partition(|name| name.starts_with("HS"));
        for (kind, algorithms) in [("shared", shared), ("public", public)] {
            // Algorithms of both kinds do not stand in one list, so such a configuration has two routes.
            if !algorithms.is_empty() {
                let jwt = json!({ "algorithms": algorithms, "jwks_file": file, "issuer": config["issuer"], "audience": config["audiences"], "leeway": "60s" });
                routes.push(json!({ "match": { "path": format!("/{id}/{kind}") }, "plugins": [{ "jwt": jwt }], "to": "behind" }));
            }
        }
    }
    // A key set without a usable key (too small, for encryption) is refused when it is loaded; nobody is let in there.
    let with = |routes: &[Value]| json!({ "upstreams": { "behind": [behind.text()] }, "routes": routes });
    routes.retain(|route| TestGateway::try_start(with(std::slice::from_ref(route))).is_ok());
    let gateway = TestGateway::start(with(&routes));
    let mut checked = 0;
    for case in suite["cases"].as_array().unwrap() {
        let Some(expected) = case["expect"].as_u64() else { continue };
        // What no HTTP header can carry does not reach the plugin.
        let Ok(bearer) = format!("Bearer {}", case["token"].as_str().unwrap()).parse::<http::HeaderValue>() else {
            continue;
        };
        let bearer = bearer.to_str().unwrap();
        let mut accepted = false;
        for kind in ["shared", "public"] {
            behind.forget();
            let path = format!("/{}/{kind}", case["config"].as_str().unwrap());
            let status = gateway.get_with(&path, &[("authorization", bearer)]).await.status;
            assert!(matches!(status, 200 | 401 | 404 | 431), "{case}: {status}");
            assert_eq!(behind.received().len(), usize::from(status == 200), "{case}");
            accepted |= status == 200;
        }
        assert_eq!(accepted, expected == 200, "{case}");
        checked += 1;
    }
    assert!(checked >= 50, "only {checked} cases were checked");
}

/// On more threads than one, since the provider has to answer while the gateway starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_says_itself_where_its_keys_are() {
    let signer = Signer::new("k");
    let keys = signer.jwks();
    let provider = Server::start(move |request: &gatewright_tests::Received| {
        assert_eq!(request.header("host"), Some("id.test"), "as whom the operator knows it");
        let body = match request.target.as_str() {
            "/a/.well-known/openid-configuration" => {
                json!({ "issuer": "https://id.test/a", "jwks_uri": "https://id.test/keys" })
            }
            "/keys" => keys.clone(),
            other => panic!("{other}"),
        };
        http::Response::new(http_body_util::Full::new(bytes::Bytes::from(body.to_string())))
    })
    .await;
    let jwt = json!({ "algorithms": ["EdDSA"], "issuer": "https://id.test/a", "discovery": "id" });
    let gateway = TestGateway::start(json!({
        "upstreams": { "id": [provider.text()] },
        "routes": [{ "match": {}, "plugins": [{ "jwt": jwt }, "echo"] }],
    }));
    let mine = signer.bearer(json!({ "sub": "ada", "iss": "https://id.test/a" }));
    let other = signer.bearer(json!({ "sub": "ada", "iss": "https://id.test" }));
    assert_eq!(gateway.get_with("/", &[("authorization", &mine)]).await.status, 200);
    gateway.get_with("/", &[("authorization", &other)]).await.problem(401);
    assert_eq!(provider.received().len(), 2);
}
