//! Mistakes in what upstreams say of TLS: each told with its place, and nothing changes.

use std::path::Path;
use std::time::{Duration, SystemTime};

use gatewright_tests::{Authority, Server, ServerTls, TestGateway, TlsFront};
use serde_json::{Value, json};

/// What the mistake is, the upstream's `tls`, what the files are, what is complained about, and where.
type Case = (&'static str, Value, fn(&Authority, &Path), &'static str, &'static str);

fn own() -> Value {
    json!({ "ca": "ca.pem", "certificate": { "cert": "b.pem", "key": "b.key" } })
}

fn cases() -> Vec<Case> {
    vec![
        (
            "a missing authority",
            json!({ "ca": "none.pem" }),
            |_, _| {},
            "none.pem\" cannot be read: No such",
            "none.pem",
        ),
        (
            "an authority that is no PEM",
            json!({ "ca": "b.pem" }),
            |_, to| std::fs::write(to.join("b.pem"), "nothing").unwrap(),
            "has no certificate in PEM form",
            "b.pem",
        ),
        (
            "an authority that is a key",
            json!({ "ca": "b.key" }),
            |ca, to| ca.issue(&["b.test"]).write(to, "b"),
            "it has a key",
            "b.key",
        ),
        (
            "another certificate's key",
            own(),
            |ca, to| {
                ca.issue(&["b.test"]).write(to, "b");
                std::fs::write(to.join("b.key"), ca.issue(&["b.test"]).key).unwrap();
            },
            "is not that of the certificate in",
            "b.key",
        ),
        (
            "a missing key",
            own(),
            |ca, to| {
                ca.issue(&["b.test"]).write(to, "b");
                std::fs::remove_file(to.join("b.key")).unwrap();
            },
            "b.key\" cannot be read",
            "b.key",
        ),
        (
            "an expired certificate",
            own(),
            |ca, to| {
                let yesterday = SystemTime::now() - Duration::from_secs(2 * 24 * 60 * 60 + 60);
                ca.issue_with(&["b.test"], |params| params.not_after = yesterday.into()).write(to, "b");
            },
            "no server would accept it",
            "b.pem",
        ),
        (
            "a name with a port",
            json!({ "ca": "ca.pem", "server_name": "orders.internal:443" }),
            |_, _| {},
            "is neither a host name nor an IP address",
            "orders.internal:443",
        ),
        (
            "a name that is none",
            json!({ "ca": "ca.pem", "subject_alt_names": ["orders.internal", "or ders"] }),
            |_, _| {},
            "is neither a host name, nor an IP address, nor a URI",
            "or ders",
        ),
    ]
}

fn config(address: &str, tls: Value) -> Value {
    json!({
        "workers": 1,
        "upstreams": { "server": { "endpoints": [address], "tls": tls } },
        "routes": [{ "match": {}, "to": "server" }],
    })
}

#[tokio::test]
async fn every_mistake_of_an_upstream_has_its_place_and_changes_nothing() {
    let (authority, behind) = (Authority::new("servers"), Server::named("behind").await);
    let front = TlsFront::start(&ServerTls::showing(&authority.issue(&["127.0.0.1"])), &behind.text()).await;
    let good = config(&front.text(), json!({ "ca": "ca.pem" }));
    let gateway = TestGateway::start_beside(good.clone(), |directory| {
        std::fs::write(directory.join("ca.pem"), authority.pem()).unwrap();
    });
    for (what, tls, arrange, complaint, place) in cases() {
        arrange(&authority, gateway.directory());
        gateway.write_config(config(&front.text(), tls));
        let error = gateway.reload().expect_err(what).to_string();
        assert!(error.contains(complaint), "{what}: {error}");
        assert!(error.contains("gateway.json:") && error.contains(place), "{what}: {error}");
        assert!(!error.contains("PRIVATE KEY-----\n"), "{what}: {error}");
        assert_eq!(gateway.get("/").await.status, 200, "{what}");
    }
    let mut config = good.clone();
    config["trusted_authorities"] = json!(["ca.pem", "nobody.pem"]);
    gateway.write_config(config);
    let error = gateway.reload().unwrap_err().to_string();
    assert!(error.contains("nobody.pem\" cannot be read") && !error.contains("ca.pem\" "), "{error}");
    gateway.write_config(good);
    gateway.reload().unwrap();
    assert_eq!(front.handshakes().len(), 1, "what did not change kept its connection");
}
