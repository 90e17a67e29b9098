//! Who we are for a registry, and who must not learn it.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gatewright_tests::{Authority, Received, Registry, Server, ServerTls, TestGateway, TlsFront};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

use super::{SOURCE, component, config, digest_of, expect, mistake, near, options, push, running};
use crate::registries::faults::{Artifact, answer};

/// Docker's configuration with one login.
fn login(folder: &std::path::Path, host: &str, user: &str, password: &str) -> PathBuf {
    let path = folder.join(format!("{password}.json"));
    let auth = STANDARD.encode(format!("{user}:{password}"));
    std::fs::write(&path, json!({ "auths": { host: { "auth": auth } } }).to_string()).unwrap();
    path
}

#[tokio::test]
async fn a_registry_that_wants_a_password_gets_the_one_of_docker_s_configuration() {
    let hash = bcrypt::hash("open-sesame", 4).unwrap();
    let registry = Registry::for_user(&format!("ada:{hash}\n"));
    let folder = tempfile::tempdir().unwrap();
    let right = login(folder.path(), &registry.host(), "ada", "open-sesame");
    let wrong = login(folder.path(), &registry.host(), "ada", "open-barley");
    let none = folder.path().join("none.json");
    std::fs::write(&none, "{}").unwrap();
    let reference = format!("{}/acme/far:1", registry.host());
    let options = super::Options { credentials: Some(right.clone()), ..options() };
    let source = push(&component("one"), &reference, &options);
    for (file, words) in [(&none, "there are no credentials for it"), (&wrong, "answered 401")] {
        let gateway = TestGateway::start(near());
        gateway.write_config(config(&source, json!({ "credentials": file })));
        let refused = mistake(gateway.reload());
        expect(&refused, SOURCE, words);
        assert!(!refused.to_string().contains("barley"), "{refused:#}");
        assert_eq!(gateway.get("/").await.text(), "near");
    }
    let gateway = TestGateway::start(config(&source, json!({ "credentials": right })));
    assert_eq!(running(&gateway).await, digest_of(&component("one")));
}

#[tokio::test]
async fn credentials_that_are_not_docker_s_configuration_are_shown_at_their_place() {
    let gateway = TestGateway::start(near());
    let source = format!("oci://127.0.0.1:9/far@{}", digest_of(b""));
    gateway.write_config(config(&source, json!({ "credentials": "gone.json" })));
    expect(&mistake(gateway.reload()), "/registries/credentials", "cannot be read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_fetched_from_where_the_registry_says_and_a_blob_elsewhere_learns_no_credentials() {
    let artifact = Arc::new(Artifact::of(component("one")));
    let elsewhere = {
        let artifact = artifact.clone();
        Server::start(move |request| answer(&artifact, request)).await
    };
    let tokens = Server::start(|request: &Received| {
        let is_ada = request.header("authorization") == Some(&format!("Basic {}", STANDARD.encode("ada:open-sesame")));
        let body = json!({ "token": "a-token" }).to_string();
        let mut response = Response::new(Full::new(Bytes::from(body)));
        if !is_ada || !request.target.contains("scope=repository%3Aacme%2Ffar%3Apull") {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        response
    })
    .await;
    let (realm, blobs) = (tokens.text(), elsewhere.text());
    let registry = {
        let artifact = artifact.clone();
        Server::start(move |request: &Received| {
            let mut response = answer(&artifact, request);
            if request.header("authorization") != Some("Bearer a-token") {
                let challenge = format!(
                    "Bearer realm=\"http://{realm}/token\",service=\"test\",scope=\"repository:acme/far:pull\""
                );
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                response.headers_mut().insert("www-authenticate", challenge.parse().unwrap());
            } else if request.target.contains("/blobs/") {
                *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
                let location = format!("http://{blobs}{}?signature=secret", request.target);
                response.headers_mut().insert("location", location.parse().unwrap());
            }
            response
        })
        .await
    };
    let folder = tempfile::tempdir().unwrap();
    let credentials = login(folder.path(), &registry.text(), "ada", "open-sesame");
    let source = format!("oci://{}/acme/far@{}", registry.text(), artifact.digest);
    let gateway = TestGateway::start(config(&source, json!({ "credentials": credentials })));
    assert_eq!(running(&gateway).await, digest_of(&component("one")));
    let there = elsewhere.only();
    assert_eq!((there.header("authorization"), there.header("cookie")), (None, None));
    // One token does for everything that a fetch asks.
    assert_eq!(tokens.received().len(), 1);
}

/// Up to the `@` it looks like a host that is spoken with in plain HTTP; the connection, with the credentials, would go to
/// what is behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_service_at_an_address_with_a_user_gets_nothing() {
    let artifact = Artifact::of(component("one"));
    let elsewhere = Server::named_at("elsewhere", "127.0.0.2:0").await;
    let realm = format!("http://127.0.0.1:80@{}/token", elsewhere.text());
    let registry = Server::start(move |_: &Received| {
        let challenge = format!("Bearer realm=\"{realm}\"");
        let response = Response::builder().status(401).header("www-authenticate", challenge);
        response.body(Full::<Bytes>::default()).unwrap()
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let credentials = login(folder.path(), &registry.text(), "ada", "open-sesame");
    let source = format!("oci://{}/acme/far@{}", registry.text(), artifact.digest);
    let config = config(&source, json!({ "credentials": credentials, "plain_http": ["127.0.0.1"] }));
    let refused = mistake(TestGateway::try_start(config).map(drop));
    expect(&refused, SOURCE, "a token service at an address without a host");
    assert!(elsewhere.received().is_empty(), "{:#?}", elsewhere.received());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_stays_with_its_scheme_and_a_token_service_without_tls_gets_nothing() {
    let artifact = Arc::new(Artifact::of(component("one")));
    let plain = Server::named("plain").await;
    let authority = Authority::new("registries");
    let issued = authority.issue(&["localhost"]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    for (what, words) in [("redirect", "a redirect to another scheme"), ("token", "not spoken with over TLS")] {
        let (artifact_there, elsewhere) = (artifact.clone(), plain.text());
        let behind = Server::start(move |request: &Received| {
            let mut response = answer(&artifact_there, request);
            if what == "token" {
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                let challenge = format!("Bearer realm=\"http://{elsewhere}/token\"");
                response.headers_mut().insert("www-authenticate", challenge.parse().unwrap());
            } else if request.target.contains("/blobs/") {
                *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
                let location = format!("http://{elsewhere}{}", request.target);
                response.headers_mut().insert("location", location.parse().unwrap());
            }
            response
        })
        .await;
        let front = TlsFront::start(&ServerTls::showing(&issued), &behind.text()).await;
        let host = format!("localhost:{}", front.port());
        let credentials = login(folder.path(), &host, "ada", "open-sesame");
        let source = format!("oci://{host}/acme/far@{}", artifact.digest);
        let registries = json!({ "credentials": credentials, "plain_http": ["127.0.0.1"] });
        let mut config = config(&source, registries);
        config["trusted_authorities"] = json!([folder.path().join("ca.pem")]);
        expect(&mistake(TestGateway::try_start(config.clone()).map(drop)), SOURCE, words);
        assert!(plain.received().is_empty(), "{:#?}", plain.received());
        // Without the authority there is not even a request.
        behind.forget();
        config.as_object_mut().unwrap().remove("trusted_authorities");
        expect(&mistake(TestGateway::try_start(config).map(drop)), SOURCE, "no trusted authority");
        assert!(behind.received().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_over_tls_is_trusted_by_the_authorities_of_the_configuration() {
    let artifact = Arc::new(Artifact::of(component("one")));
    let authority = Authority::new("registries");
    let behind = {
        let artifact = artifact.clone();
        Server::start(move |request: &Received| answer(&artifact, request)).await
    };
    let front = TlsFront::start(&ServerTls::showing(&authority.issue(&["localhost"])), &behind.text()).await;
    let source = format!("oci://localhost:{}/acme/far@{}", front.port(), artifact.digest);
    let mut config = config(&source, json!({ "plain_http": [] }));
    config["trusted_authorities"] = json!(["ca.pem"]);
    let gateway = TestGateway::start_beside(config, |folder| {
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    });
    assert_eq!(running(&gateway).await, digest_of(&component("one")));
}
