//! Key sets at https addresses: directly, where no upstream has the name of the host, and through one that has.

use gatewright_tests::{Authority, Server, ServerTls, Signer, TestGateway, TlsFront, eventually};
use serde_json::{Value, json};

/// A provider of the signer's key set over TLS, with a certificate for `localhost`.
async fn provider(authority: &Authority, signer: &Signer) -> (TlsFront, Server) {
    let set = signer.jwks().to_string();
    let server = Server::start(move |_| http::Response::new(bytes::Bytes::from(set.clone()).into())).await;
    let front = TlsFront::start(&ServerTls::showing(&authority.issue(&["localhost"])), &server.text()).await;
    (front, server)
}

fn config(jwks: &str) -> Value {
    json!({
        "routes": [{
            "match": {},
            "plugins": [
                { "jwt": { "issuer": "me", "algorithms": ["EdDSA"], "jwks": jwks } },
                { "echo": { "respond": { "body": "in" } } },
            ],
        }],
    })
}

/// Starts where the provider can answer meanwhile.
async fn start(config: Value, files: Vec<(&'static str, String)>) -> TestGateway {
    let start = move || {
        TestGateway::start_beside(config, |directory| {
            files.iter().for_each(|(name, text)| std::fs::write(directory.join(name), text).unwrap());
        })
    };
    tokio::task::spawn_blocking(start).await.unwrap()
}

async fn status(gateway: &TestGateway, signer: &Signer) -> u16 {
    let bearer = signer.bearer(json!({ "iss": "me", "sub": "ada" }));
    gateway.get_with("/", &[("authorization", &bearer)]).await.status
}

#[tokio::test]
async fn a_provider_that_is_trusted_is_asked_directly() {
    let (authority, signer) = (Authority::new("company"), Signer::new("one"));
    let (front, server) = provider(&authority, &signer).await;
    let mut config = config(&format!("https://localhost:{}/keys?a=b", front.port()));
    config["trusted_authorities"] = json!(["company.pem"]);
    let gateway = start(config, vec![("company.pem", authority.pem())]).await;
    assert_eq!(status(&gateway, &signer).await, 200);
    assert_eq!(status(&gateway, &Signer::new("one")).await, 401, "another key of that name");
    let received = server.only();
    assert_eq!(received.target, "/keys?a=b");
    assert_eq!(received.header("host"), Some(format!("localhost:{}", front.port()).as_str()));
    assert_eq!(front.handshakes().remove(0).server_name.as_deref(), Some("localhost"));
}

#[tokio::test]
async fn a_provider_that_is_not_vouches_for_nobody() {
    let (authority, signer) = (Authority::new("company"), Signer::new("one"));
    let (front, server) = provider(&authority, &signer).await;
    let other = Authority::new("others");
    let by_name = format!("https://localhost:{}/keys", front.port());
    // Another authority; one that the system does not know; a name that is not in the certificate.
    for (what, jwks, trusted) in [
        ("another authority", by_name.clone(), Some(other.pem())),
        ("the system's authorities", by_name.clone(), None),
        ("another name", format!("https://127.0.0.1:{}/keys", front.port()), Some(authority.pem())),
    ] {
        let mut config = config(&jwks);
        let mut files = Vec::new();
        if let Some(pem) = trusted {
            config["trusted_authorities"] = json!(["company.pem"]);
            files.push(("company.pem", pem));
        }
        let gateway = start(config, files).await;
        assert_eq!(status(&gateway, &signer).await, 503, "{what}: nobody is let in");
        assert_eq!(status(&gateway, &Signer::new("one")).await, 503, "{what}");
    }
    assert!(server.received().is_empty() && front.handshakes().is_empty(), "{:?}", front.handshakes());
}

#[tokio::test]
async fn an_authority_that_is_added_later_is_trusted_then() {
    let (authority, signer) = (Authority::new("company"), Signer::new("one"));
    let (front, _server) = provider(&authority, &signer).await;
    let mut config = config(&format!("https://localhost:{}/keys", front.port()));
    config["trusted_authorities"] = json!(["company.pem"]);
    let gateway = start(config, vec![("company.pem", Authority::new("others").pem())]).await;
    assert_eq!(status(&gateway, &signer).await, 503);
    std::fs::write(gateway.directory().join("company.pem"), authority.pem()).unwrap();
    eventually("the keys are there", async || (status(&gateway, &signer).await == 200).then_some(())).await;
}

#[tokio::test]
async fn an_upstream_of_that_name_goes_before_and_has_to_speak_tls_as_well() {
    let (authority, signer) = (Authority::new("company"), Signer::new("one"));
    let (front, server) = provider(&authority, &signer).await;
    for (what, jwks, upstream, expected) in [
        (
            "with TLS",
            "https://id/keys",
            json!({ "endpoints": [format!("localhost:{}", front.port())], "tls": { "ca": "company.pem" } }),
            200,
        ),
        // What goes over it is what the upstream says; the address asks for no more.
        (
            "with TLS, by an address without",
            "http://id/keys",
            json!({ "endpoints": [format!("localhost:{}", front.port())], "tls": { "ca": "company.pem" } }),
            200,
        ),
        ("without TLS", "http://id/keys", json!([server.text()]), 200),
        ("without TLS, by an address that asks for it", "https://id/keys", json!([server.text()]), 503),
    ] {
        let mut config = config(jwks);
        config["upstreams"] = json!({ "id": upstream });
        let gateway = start(config, vec![("company.pem", authority.pem())]).await;
        assert_eq!(status(&gateway, &signer).await, expected, "{what}");
    }
    assert_eq!(server.received().len(), 3);
}
