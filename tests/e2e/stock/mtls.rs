//! `mtls`: which of the certificates that the listener accepts are let in.

use gatewright_tests::{Authority, Issued, TestGateway, TlsClient};
use rcgen::{DnType, SanType};
use serde_json::{Value, json};

/// A certificate whose names are these, and whose common name is `name`.
fn certificate(authority: &Authority, name: &str, names: Vec<SanType>) -> Issued {
    authority.issue_with(&[], |params| {
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = names;
    })
}

fn uri(uri: &str) -> SanType {
    SanType::URI(uri.try_into().unwrap())
}

fn start(servers: &Authority, clients: &Authority, mtls: Value) -> TestGateway {
    let tls = json!({
        "certificates": [{ "cert": "a.pem", "key": "a.key" }], "client": { "ca": "clients.pem", "required": false },
    });
    let groups = json!({ "acl": { "allow": [{ "groups": ["backend"] }] } });
    let config = json!({
        "listeners": [{ "address": "127.0.0.1:0", "name": "secure", "tls": tls }, { "address": "127.0.0.1:0", "name": "plain" }],
        "routes": [
            { "match": { "path": "/backend" }, "plugins": [{ "mtls": mtls }, groups, "echo"] },
            { "match": {}, "plugins": [{ "mtls": mtls }, { "headers": { "request": { "set": { "x-who": "$(identity.subject)" } } } }, "echo"] },
        ],
    });
    TestGateway::start_beside(config, |directory| {
        servers.issue(&["a.test"]).write(directory, "a");
        std::fs::write(directory.join("clients.pem"), clients.pem()).unwrap();
    })
}

#[tokio::test]
async fn a_certificate_is_let_in_by_what_stands_in_it() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let orders = certificate(&clients, "orders", vec![uri("spiffe://shop/ns/orders")]);
    let billing = certificate(&clients, "billing", vec![uri("spiffe://shop/ns/billing")]);
    let gateway = start(
        &servers,
        &clients,
        json!({
            "identity": "uri",
            "allow": [
                { "uri": "spiffe://shop/ns/orders", "claims": { "groups": ["backend"] } },
                { "uri": "spiffe://shop/ns/*", "subject": { "O": "Example" }, "issuer": "CN=clients" },
            ],
            "deny": [{ "subject": { "CN": ["gone", "lost"] } }],
        }),
    );
    let none = servers.client();
    for (what, settings, statuses) in [
        ("orders", none.clone().showing(&orders), [200, 200]),
        ("orders over TLS 1.2", none.clone().showing(&orders).tls12(), [200, 200]),
        ("orders over HTTP/2", none.clone().showing(&orders).alpn(&["h2"]), [200, 200]),
        ("billing", none.clone().showing(&billing), [200, 403]),
        (
            "denied",
            none.clone().showing(&certificate(&clients, "gone", vec![uri("spiffe://shop/ns/orders")])),
            [403, 403],
        ),
        (
            "another path",
            none.clone().showing(&certificate(&clients, "x", vec![uri("spiffe://shop/nsx/orders")])),
            [403, 403],
        ),
        ("no name", none.clone().showing(&certificate(&clients, "orders", vec![])), [403, 403]),
        (
            "two names",
            none.clone().showing(&certificate(
                &clients,
                "x",
                vec![uri("spiffe://shop/ns/a"), uri("spiffe://shop/ns/b")],
            )),
            [403, 403],
        ),
        (
            "a name inside another",
            none.clone().showing(&certificate(&clients, "x", vec![uri("a://b/c,URI:spiffe://shop/ns/orders")])),
            [403, 403],
        ),
        (
            "a common name that looks like a subject",
            none.clone().showing(&certificate(&clients, "x,O=Example", vec![uri("spiffe://other/ns/a")])),
            [403, 403],
        ),
        ("none", none.clone(), [403, 403]),
    ] {
        let mut client = TlsClient::connect(gateway.address_of("secure"), "a.test", &settings).await.unwrap();
        for (path, status) in ["/", "/backend"].into_iter().zip(statuses) {
            let answer = client.client.send("GET", path, &[("x-who", "root")], "").await.unwrap();
            assert_eq!(answer.status, status, "{what} {path}: {}", answer.text());
            if status == 200 {
                let who = if what == "billing" { "spiffe://shop/ns/billing" } else { "spiffe://shop/ns/orders" };
                assert!(path == "/backend" || answer.json()["headers"]["x-who"] == who, "{what}");
            } else {
                answer.problem(403);
            }
        }
    }
    let mut stranger = TlsClient::connect(
        gateway.address_of("secure"),
        "a.test",
        &none.showing(&certificate(&Authority::new("clients"), "orders", vec![uri("spiffe://shop/ns/orders")])),
    )
    .await;
    let refused = match &mut stranger {
        Ok(client) => client.get("/").await.is_err(),
        Err(_) => true,
    };
    assert!(refused, "another authority of the same name has signed it");
    let clear = gatewright_tests::send(gateway.address_of("plain"), "GET", "/", &[("x-who", "root")], "").await;
    clear.problem(403);
    assert!(gateway.metric("plugin_mtls_denied", &["reason=\"missing\""]).await >= 3.0);
}
