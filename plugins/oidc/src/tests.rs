#![allow(clippy::unwrap_used)]

mod configuration;
mod discovery;
mod sessions;
mod signing_in;

use std::collections::BTreeMap;

use gatewright_sdk::{
    http_client,
    serde_json::{self, json},
    testing::{Double, Request},
};

use super::*;

const BASE: &str = r#""upstream": "id", "issuer": "https://id.test", "authorization_endpoint": "https://id.test/auth?tenant=1",
    "token_endpoint": "/token", "jwks": "http://id/jwks", "client_id": "gate", "client_secret": "client",
    "redirect_uri": "https://shop.test/oidc/callback", "keys": ["new", "old"]"#;

fn world() -> Double {
    let gateway = Double::new();
    gateway.secret("client", "s3cret");
    gateway.secret("new", "the new key of at least 32 bytes..");
    gateway.secret("old", "the old key of at least 32 bytes..");
    gateway
}

fn configured(gateway: &Double, more: &str) -> Oidc {
    gateway.configure(&format!("{{ {BASE} {more} }}")).unwrap_or_else(|why| panic!("{more}: {why}"))
}

/// Makes the provider answer every request with these tokens.
fn provider(gateway: &Double, status: u16, tokens: Value) {
    let status = StatusCode::from_u16(status).unwrap();
    gateway.upstream("id", move |_| {
        Ok(http_client::Response { status, headers: Vec::new(), body: tokens.to_string().into_bytes() })
    });
}

fn tokens(more: Value) -> Value {
    let mut tokens = json!({ "access_token": "at", "token_type": "Bearer", "expires_in": 300, "id_token": "idt" });
    tokens.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    tokens
}

fn page(path: &str) -> Request {
    Request::get(path).header("accept", "text/html,*/*").authority("shop.test")
}

fn response(decision: Decision) -> Response {
    let Decision::Respond(response) = decision else { panic!("{decision:?}") };
    response
}

/// The cookies that a browser keeps from a response: those that are not empty.
fn cookies(response: &Response) -> BTreeMap<String, String> {
    let set = response.headers.iter().filter(|(name, _)| name == "set-cookie");
    let pairs = set.map(|(_, value)| value.split(';').next().unwrap().split_once('=').unwrap());
    pairs.filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn with(request: Request, cookies: &BTreeMap<String, String>) -> Request {
    cookies.iter().fold(request, |request, (name, value)| request.header("cookie", &format!("{name}={value}")))
}

fn query_of(location: &str, name: &str) -> String {
    form::only(location.split_once('?').unwrap().1, name).unwrap().into_owned()
}

/// Begins a login: the address of the provider, and the browser's cookies.
fn begin(gateway: &Double, oidc: &Oidc, path: &str) -> (String, BTreeMap<String, String>) {
    gateway.receive(page(path));
    let answer = response(gateway.on_request(oidc));
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    (answer.header("location").unwrap().to_owned(), cookies(&answer))
}

/// A whole login; the claims are those of the ID token.
fn sign_in(
    gateway: &Double,
    oidc: &Oidc,
    path: &str,
    mut claims: Value,
    more: Value,
) -> (Response, BTreeMap<String, String>) {
    let (location, jar) = begin(gateway, oidc, path);
    claims["nonce"] = json!(query_of(&location, "nonce"));
    gateway.token("idt", Ok(&claims.to_string()));
    provider(gateway, 200, tokens(more));
    gateway.receive(with(page(&format!("/oidc/callback?code=c0de&state={}", query_of(&location, "state"))), &jar));
    let answer = response(gateway.on_request(oidc));
    let jar = cookies(&answer);
    (answer, jar)
}
