//! `oidc`: people sign in with a real provider.

use std::time::{Duration, Instant};

use gatewright_tests::{Answer, Browser, OpenIdProvider, Server, Slow, TestGateway, Wire, eventually, send};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const REDIRECT: &str = "http://app.test/oidc/callback";
const SECRET: &str = "a secret of the gateway: 100%";
const COOKIE: &str = "gateway_session";

fn config(provider: &OpenIdProvider, more: Value) -> Value {
    let issuer = provider.issuer();
    let mut config = json!({
        "upstream": "id", "issuer": issuer, "authorization_endpoint": format!("{issuer}/auth"), "token_endpoint": "/token",
        "jwks": "http://id/jwks", "end_session_endpoint": format!("{issuer}/session/end"),
        "client_id": "gateway", "client_secret": "client", "redirect_uri": REDIRECT, "keys": ["cookies"], "secure": false,
        "scopes": ["openid", "offline_access", "email", "groups"], "authorization_parameters": { "prompt": "consent" },
        "claims_to_headers": { "x-user": "sub", "x-mail": "email" }, "after_logout": "/bye",
    });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

fn gateway(behind: &Server, at: &str, oidc: Value) -> TestGateway {
    gateway_with_keys(behind, at, at, oidc)
}

/// One that may find the provider's keys elsewhere, through the upstream `keys`.
fn gateway_with_keys(behind: &Server, at: &str, keys: &str, oidc: Value) -> TestGateway {
    let config = json!({
        "upstreams": { "behind": [behind.text()], "id": [at], "keys": [keys] },
        "secrets": { "client": { "file": "client.secret" }, "cookies": { "file": "cookies.key" } },
        "plugins": { "oidc": { "grants": { "upstreams": ["id"], "secrets": ["client", "cookies"] } } },
        "routes": [
            { "match": { "path": "/bye" }, "plugins": [{ "echo": { "respond": { "body": "bye" } } }] },
            { "match": { "path": "/admin/*" }, "plugins": [{ "oidc": oidc }, { "acl": { "allow": [{ "groups": ["admin"] }] } }], "to": "behind" },
            { "match": {}, "plugins": [{ "oidc": oidc }], "to": "behind" },
        ],
    });
    TestGateway::start_beside(config, |directory| {
        std::fs::write(directory.join("client.secret"), SECRET).unwrap();
        std::fs::write(directory.join("cookies.key"), "a key for cookies of 32 bytes and more").unwrap();
    })
}

/// Opens a page, signs in with the provider as it asks for it, and comes back as far as `goes_on` says.
async fn sign_in(browser: &mut Browser, url: &str, name: &str, goes_on: impl Fn(&str) -> bool) -> (String, Answer) {
    let (mut url, mut answer) = browser.open_while(url, &goes_on).await;
    for form in [format!("prompt=login&login={name}&password=x"), "prompt=consent".to_owned()] {
        assert!(url.contains("/interaction/"), "{url}: {}", answer.text());
        let answered = browser.request("POST", &url, &form).await;
        let next = answered.header("location").unwrap_or_else(|| panic!("{url}: {}", answered.text())).to_owned();
        (url, answer) = browser.open_while(&next, &goes_on).await;
    }
    (url, answer)
}

#[tokio::test]
async fn somebody_signs_in_works_and_signs_out() {
    let (behind, provider) = (Server::named("behind").await, OpenIdProvider::start(REDIRECT, 300));
    let gateway = gateway(&behind, &provider.text(), config(&provider, json!({})));
    let mut browser = Browser::new(&[("app.test", gateway.address())]);
    let (url, answer) = sign_in(&mut browser, "http://app.test/orders?x=%201", "ada", |_| true).await;
    assert_eq!((url.as_str(), answer.status, answer.text().as_str()), ("http://app.test/orders?x=%201", 200, "behind"));
    let received = behind.only();
    assert_eq!(
        (received.target.as_str(), received.header("x-user"), received.header("x-mail")),
        ("/orders?x=%201", Some("ada"), Some("ada@id.test"))
    );
    assert_eq!(received.header("cookie"), None, "the upstream sees no session");

    let cookie = browser.cookie("app.test", COOKIE).unwrap().to_owned();
    let with = |cookie: String| [("host", "app.test".to_owned()), ("cookie", cookie), ("x-user", "root".to_owned())];
    let ask = async |path: &str, cookie: String| {
        let headers = with(cookie);
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        send(gateway.address(), "GET", path, &headers, "").await
    };
    assert_eq!(ask("/admin/x", format!("{COOKIE}={cookie}")).await.status, 200);
    assert_eq!(behind.received().pop().unwrap().header("x-user"), Some("ada"), "not what the client says");
    behind.forget();
    let mut forged = vec![
        format!("{COOKIE}={}", &cookie[1..]),
        format!("{COOKIE}={cookie}A"),
        format!("{COOKIE}={cookie}; {COOKIE}={cookie}"),
        format!("{COOKIE}="),
        format!("{COOKIE}={}", "A".repeat(cookie.len())),
        format!("{COOKIE}_login={cookie}"),
    ];
    forged.extend((0..cookie.len()).step_by(37).map(|at| {
        let other = if &cookie[at..=at] == "A" { "B" } else { "A" };
        format!("{COOKIE}={}{other}{}", &cookie[..at], &cookie[at + 1..])
    }));
    for cookie in forged {
        ask("/", cookie).await.problem(401);
    }
    assert!(behind.received().is_empty());

    let mut other = Browser::new(&[("app.test", gateway.address())]);
    let (_, refused) = sign_in(&mut other, "http://app.test/admin/x", "eve", |_| true).await;
    refused.problem(403);

    let stolen = format!("{COOKIE}={cookie}");
    let answer = browser.request("GET", "http://app.test/oidc/logout", "").await;
    assert_eq!(answer.status, 303);
    let location = answer.header("location").unwrap();
    assert!(location.starts_with(&format!("{}/session/end?client_id=gateway&", provider.issuer())), "{location}");
    assert_eq!(browser.request("GET", location, "").await.status, 200, "the provider takes it");
    assert_eq!(browser.cookie("app.test", COOKIE), None);
    ask("/", stolen).await.problem(401);
    let records = serde_json::to_string(&gateway.records()).unwrap();
    assert!(!records.contains(&cookie) && !records.contains(SECRET));
}

#[tokio::test]
async fn nobody_is_signed_in_as_somebody_else() {
    let (behind, provider) = (Server::named("behind").await, OpenIdProvider::start(REDIRECT, 300));
    let gateway = gateway(&behind, &provider.text(), config(&provider, json!({})));
    let here = |url: &str| !url.starts_with(REDIRECT);
    let mut mallory = Browser::new(&[("app.test", gateway.address())]);
    let (callback, _) = sign_in(&mut mallory, "http://app.test/", "mallory", here).await;
    assert!(callback.starts_with(&format!("{REDIRECT}?code=")), "{callback}");

    // Login CSRF: the code of one, opened by another, who has begun no login, or one of his own.
    let mut victim = Browser::new(&[("app.test", gateway.address())]);
    victim.request("GET", &callback, "").await.problem(400);
    victim.request("GET", "http://app.test/", "").await;
    victim.request("GET", &callback, "").await.problem(400);
    assert_eq!(victim.cookie("app.test", COOKIE), None);

    let broken = |from: &str, to: &str| callback.replacen(from, to, 1);
    for (what, url) in [
        ("another state", broken("state=", "state=x")),
        ("another issuer", broken("iss=http", "iss=https")),
        ("no state", callback.split("&state").next().unwrap().to_owned()),
    ] {
        mallory.request("GET", &url, "").await.problem(400);
        assert_eq!(mallory.cookie("app.test", COOKIE), None, "{what}");
    }
    mallory.request("GET", &broken("code=", "code=x"), "").await.problem(403);
    let finished = mallory.request("GET", &callback, "").await;
    assert_eq!((finished.status, finished.header("location")), (303, Some("http://app.test/")));
    mallory.request("GET", &callback, "").await.problem(400);
    assert!(behind.received().is_empty());

    // Open redirects: whatever is asked for, the way back leads to this host.
    for path in ["//evil.test/a", "/%2f%2fevil.test", "/\\evil.test", "/?to=http://evil.test"] {
        let mut browser = Browser::new(&[("app.test", gateway.address())]);
        let begun = send(gateway.address(), "GET", path, &[("host", "app.test"), ("accept", "text/html")], "").await;
        if begun.status != 303 {
            assert!(begun.status >= 400, "{path}");
            continue;
        }
        let login = begun.header("set-cookie").unwrap().split(';').next().unwrap().split_once('=').unwrap();
        browser.set_cookie("app.test", login.0, login.1);
        let (callback, _) = sign_in(&mut browser, begun.header("location").unwrap(), "ada", here).await;
        let finished = browser.request("GET", &callback, "").await;
        assert!(finished.header("location").unwrap().starts_with("http://app.test/"), "{path}: {finished:?}");
    }
}

#[tokio::test]
async fn a_session_lives_on_with_fresh_tokens() {
    let (behind, provider) = (Server::named("behind").await, OpenIdProvider::start(REDIRECT, 601));
    let gateway = gateway(&behind, &provider.text(), config(&provider, json!({ "refresh_before": "600s" })));
    let mut browser = Browser::new(&[("app.test", gateway.address())]);
    sign_in(&mut browser, "http://app.test/", "ada", |_| true).await;
    let first = browser.cookie("app.test", COOKIE).unwrap().to_owned();
    // A second later the tokens want to be renewed; many requests find that out at once, with the same cookie.
    for round in 0..3 {
        let before = browser.cookie("app.test", COOKIE).unwrap().to_owned();
        let address = gateway.address();
        eventually("the session is renewed", async || {
            let asked = (0..8).map(|_| {
                let cookie = format!("{COOKIE}={before}");
                tokio::spawn(async move {
                    send(address, "GET", "/", &[("host", "app.test"), ("cookie", &cookie)], "").await
                })
            });
            let mut renewed = None;
            for answer in asked.collect::<Vec<_>>() {
                let answer = answer.await.unwrap();
                assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
                renewed = renewed.or(answer.header("set-cookie").map(str::to_owned));
            }
            let renewed = renewed?;
            browser.set_cookie("app.test", COOKIE, renewed.split(';').next()?.split_once('=')?.1);
            Some(())
        })
        .await;
    }
    assert_ne!(browser.cookie("app.test", COOKIE), Some(first.as_str()));
    assert_eq!(browser.request("GET", "http://app.test/", "").await.status, 200);
    // The provider ends a session in which a refresh token comes twice: three rounds went well, so none did.
    let asked = gateway.metric("plugin_oidc_logins", &["outcome=\"finished\""]).await;
    assert_eq!(asked, 1.0);
}

/// A provider that gives new tokens when it is let.
async fn slow() -> Slow {
    let body = json!({ "access_token": "at2", "token_type": "Bearer", "expires_in": 300, "refresh_token": "rt2" });
    let body = body.to_string();
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json";
    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    Slow::answering(move |_| answer.clone()).await
}

/// The cookie of somebody who has signed in, and a second gateway that accepts it and asks the slow provider.
async fn signed_in_elsewhere(
    behind: &Server,
    provider: &OpenIdProvider,
    slow: &Slow,
    more: Value,
) -> (String, TestGateway) {
    let first = gateway(behind, &provider.text(), config(provider, json!({})));
    let mut browser = Browser::new(&[("app.test", first.address())]);
    sign_in(&mut browser, "http://app.test/", "ada", |_| true).await;
    let cookie = format!("{COOKIE}={}", browser.cookie("app.test", COOKIE).unwrap());
    let mut config = config(provider, more);
    config["jwks"] = json!("http://keys/jwks");
    (cookie, gateway_with_keys(behind, &slow.text(), &provider.text(), config))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_new_tokens_may_leave_and_another_asks() {
    let (behind, provider, slow) = (Server::named("behind").await, OpenIdProvider::start(REDIRECT, 601), slow().await);
    let (cookie, gateway) =
        signed_in_elsewhere(&behind, &provider, &slow, json!({ "refresh_before": "1h", "timeout": "5s" })).await;
    let began = Instant::now();
    let mut first = Wire::connect(gateway.address()).await;
    first.send(format!("GET / HTTP/1.1\r\nhost: app.test\r\ncookie: {cookie}\r\n\r\n")).await;
    slow.wait_for(1).await;
    first.reset();
    let address = gateway.address();
    let others = eventually("the session is renewed", async || {
        let answer = send(address, "GET", "/", &[("host", "app.test"), ("cookie", &cookie)], "").await;
        assert_eq!(answer.status, 200, "the old tokens are good: {}", answer.text());
        answer.header("set-cookie").map(str::to_owned)
    });
    let (renewed, ()) = tokio::join!(others, async {
        slow.wait_for(2).await;
        slow.release(2);
    });
    assert!(renewed.starts_with(&format!("{COOKIE}=")), "{renewed}");
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_with_old_tokens_waits_for_the_one_that_asks() {
    let (behind, provider, slow) = (Server::named("behind").await, OpenIdProvider::start(REDIRECT, 2), slow().await);
    let (cookie, gateway) = signed_in_elsewhere(&behind, &provider, &slow, json!({ "timeout": "10s" })).await;
    let signed_in = Instant::now();
    eventually("the access token has expired", async || (signed_in.elapsed() > Duration::from_secs(3)).then_some(()))
        .await;
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        let (address, cookie) = (gateway.address(), cookie.clone());
        clients.spawn(async move {
            let answer = send(address, "GET", "/", &[("host", "app.test"), ("cookie", &cookie)], "").await;
            // What comes behind it may differ by a second.
            let cookie = answer.header("set-cookie").and_then(|set| set.split(';').next());
            (answer.status, cookie.map(str::to_owned))
        });
    }
    eventually("all are waiting", async || {
        (gateway.metric("http_server_active_requests", &[]).await >= 20.0).then_some(())
    })
    .await;
    slow.release(20);
    let answers = clients.join_all().await;
    let renewed = answers[0].1.clone();
    assert!(renewed.is_some());
    assert!(answers.iter().all(|answer| *answer == (200, renewed.clone())), "{answers:?}");
    assert_eq!(slow.asked(), 1);
}

#[tokio::test]
async fn without_the_provider_nobody_comes_in() {
    let (behind, provider) = (Server::named("behind").await, OpenIdProvider::start(REDIRECT, 300));
    let gateway = gateway(&behind, "127.0.0.1:9", config(&provider, json!({ "timeout": "500ms" })));
    let mut browser = Browser::new(&[("app.test", gateway.address())]);
    let (_, answer) = sign_in(&mut browser, "http://app.test/", "ada", |_| true).await;
    answer.problem(503);
    assert_eq!(browser.cookie("app.test", COOKIE), None);
    for headers in
        [vec![("accept", "application/json")], vec![("accept", "text/html"), ("sec-fetch-mode", "cors")], vec![]]
    {
        send(gateway.address(), "GET", "/", &headers, "").await.problem(401);
    }
    send(gateway.address(), "POST", "/", &[("accept", "text/html")], "").await.problem(401);
    assert!(behind.received().is_empty());
}

/// What a configuration has without the endpoints, which the provider says itself.
fn discovering(provider: &OpenIdProvider, more: Value) -> Value {
    let mut config = config(provider, more);
    for key in ["authorization_endpoint", "token_endpoint", "jwks", "end_session_endpoint"] {
        config.as_object_mut().unwrap().remove(key);
    }
    config
}

#[tokio::test]
async fn a_provider_says_itself_where_its_endpoints_are() {
    let (behind, provider) = (Server::named("behind").await, OpenIdProvider::start(REDIRECT, 300));
    let gateway = gateway(&behind, &provider.text(), discovering(&provider, json!({})));
    let mut browser = Browser::new(&[("app.test", gateway.address())]);
    let (url, answer) = sign_in(&mut browser, "http://app.test/orders", "ada", |_| true).await;
    assert_eq!((url.as_str(), answer.status, answer.text().as_str()), ("http://app.test/orders", 200, "behind"));
    assert_eq!(behind.only().header("x-user"), Some("ada"));
    let answer = browser.request("GET", "http://app.test/oidc/logout", "").await;
    let location = answer.header("location").unwrap();
    assert!(location.starts_with(&format!("{}/session/end?client_id=gateway&", provider.issuer())), "{location}");
    assert_eq!(browser.request("GET", location, "").await.status, 200, "the provider takes it");
}

/// The document of one provider is none of another, however it is reached; and no document sends a secret elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_of_another_issuer_or_with_endpoints_elsewhere_signs_nobody_in() {
    let (behind, elsewhere) = (Server::named("behind").await, Server::named("elsewhere").await);
    let provider = OpenIdProvider::start(REDIRECT, 300);
    let mut other = discovering(&provider, json!({}));
    other["issuer"] = json!(format!("{}/", provider.issuer()));
    let wrong_issuer = gateway(&behind, &provider.text(), other);
    let mut lying = discovering(&provider, json!({}));
    lying["issuer"] = json!("http://id.test");
    let away = elsewhere.text();
    let liar = Server::start(move |request: &gatewright_tests::Received| {
        assert_eq!(request.header("host"), Some("id.test"));
        let body = match request.target.as_str() {
            "/.well-known/openid-configuration" => json!({
                "issuer": "http://id.test", "authorization_endpoint": "http://id.test/auth",
                "token_endpoint": format!("http://{away}/token"), "jwks_uri": "http://id.test/jwks",
            }),
            _ => gatewright_tests::Signer::new("k").jwks(),
        };
        http::Response::new(http_body_util::Full::new(bytes::Bytes::from(body.to_string())))
    })
    .await;
    let endpoints_elsewhere = gateway(&behind, &liar.text(), lying);
    for gateway in [wrong_issuer, endpoints_elsewhere] {
        let answer = gateway.get_with("/", &[("host", "app.test"), ("accept", "text/html")]).await;
        answer.problem(503);
        gateway.get("/").await.problem(401);
    }
    assert!(behind.received().is_empty() && elsewhere.received().is_empty());
    assert_eq!(liar.received().len(), 2, "the document and the keys, both through the upstream");
}
