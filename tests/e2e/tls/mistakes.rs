//! Mistakes in the files: each told with its place in gateway.json, and nothing changes.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use gatewright_tests::{Authority, TestGateway, TlsClient};
use serde_json::{Value, json};

use super::{authority, config, start, with};

fn write(directory: &Path, name: &str, text: impl AsRef<[u8]>) {
    std::fs::write(directory.join(name), text).unwrap();
}

/// Every mistake: what the files are, what `tls` is, what is complained about, and where.
type Case = (&'static str, Value, fn(&Authority, &Path), &'static str, &'static str);

fn cases() -> Vec<Case> {
    vec![
        (
            "a certificate that is not there",
            with(&["none"]),
            |_, _| {},
            "none.pem\" cannot be read: No such file",
            "none.pem",
        ),
        (
            "a key that is not there",
            with(&["b"]),
            |ca, to| write(to, "b.pem", ca.issue(&["b.test"]).cert),
            "b.key\" cannot be read",
            "b.key",
        ),
        (
            "a key that is another's",
            with(&["b"]),
            |ca, to| {
                ca.issue(&["b.test"]).write(to, "b");
                write(to, "b.key", ca.issue(&["b.test"]).key);
            },
            "is not that of the certificate in",
            "b.key",
        ),
        (
            "a chain in the wrong order",
            with(&["b"]),
            |ca, to| {
                let own = ca.issue(&["b.test"]);
                own.write(to, "b");
                write(to, "b.pem", format!("{}{}", ca.pem(), own.cert));
            },
            "it is that of a later certificate in the file",
            "b.key",
        ),
        (
            "an expired certificate",
            with(&["b"]),
            |ca, to| {
                let yesterday = SystemTime::now() - Duration::from_secs(2 * 24 * 60 * 60 + 60);
                ca.issue_with(&["b.test"], |params| params.not_after = yesterday.into()).write(to, "b");
            },
            "(2 days ago)",
            "b.pem",
        ),
        (
            "a certificate of tomorrow",
            with(&["b"]),
            |ca, to| {
                let tomorrow = SystemTime::now() + Duration::from_secs(24 * 60 * 60 + 60);
                ca.issue_with(&["b.test"], |params| params.not_before = tomorrow.into()).write(to, "b");
            },
            "is valid from",
            "b.pem",
        ),
        (
            "no PEM",
            with(&["b"]),
            |ca, to| {
                ca.issue(&["b.test"]).write(to, "b");
                write(to, "b.pem", "not a certificate");
            },
            "has no certificate in PEM form",
            "b.pem",
        ),
        (
            "DER",
            with(&["b"]),
            |ca, to| {
                let own = ca.issue(&["b.test"]);
                own.write(to, "b");
                write(to, "b.pem", own.der());
            },
            "openssl x509 -inform DER",
            "b.pem",
        ),
        (
            "PEM that is cut off",
            with(&["b"]),
            |ca, to| {
                let own = ca.issue(&["b.test"]);
                own.write(to, "b");
                write(to, "b.pem", &own.cert[..own.cert.len() / 2]);
            },
            "a section has no END line",
            "b.pem",
        ),
        (
            "PEM around nothing that is a certificate",
            with(&["b"]),
            |ca, to| {
                ca.issue(&["b.test"]).write(to, "b");
                write(to, "b.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
            },
            "the first certificate in",
            "b.pem",
        ),
        (
            "certificate and key swapped",
            json!({ "certificates": [{ "cert": "b.key", "key": "b.pem" }] }),
            |ca, to| ca.issue(&["b.test"]).write(to, "b"),
            "may be swapped",
            "b.key",
        ),
        (
            "a key under a passphrase",
            with(&["b"]),
            |ca, to| {
                ca.issue(&["b.test"]).write(to, "b");
                write(
                    to,
                    "b.key",
                    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                );
            },
            "is encrypted",
            "b.key",
        ),
        (
            "a directory",
            json!({ "certificates": [{ "cert": ".", "key": "b.key" }] }),
            |ca, to| ca.issue(&["b.test"]).write(to, "b"),
            "is not a file",
            "\".\"",
        ),
        (
            "a pipe",
            json!({ "certificates": [{ "cert": "b.pem", "key": "pipe" }] }),
            |ca, to| {
                ca.issue(&["b.test"]).write(to, "b");
                assert!(Command::new("mkfifo").arg(to.join("pipe")).status().unwrap().success());
            },
            "is not a file",
            "\"pipe\"",
        ),
        (
            "two certificates for a name",
            with(&["a", "b"]),
            |ca, to| ca.issue(&["b.test", "A.test"]).write(to, "b"),
            "are both for \"A.test\"",
            "b.pem",
        ),
        (
            "a certificate that nobody would get",
            with(&["a", "b"]),
            |ca, to| ca.issue(&[]).write(to, "b"),
            "no DNS name among its subject alternative names",
            "b.pem",
        ),
        (
            "authorities that are not there",
            json!({ "certificates": [{ "cert": "a.pem", "key": "a.key" }], "client": { "ca": "none.pem" } }),
            |_, _| {},
            "none.pem\" cannot be read",
            "none.pem",
        ),
        (
            "authorities that are none",
            json!({ "certificates": [{ "cert": "a.pem", "key": "a.key" }], "client": { "ca": "a.key" } }),
            |_, _| {},
            "has no certificate in PEM form",
            "a.key",
        ),
    ]
}

#[tokio::test]
async fn every_mistake_has_its_place_and_changes_nothing() {
    let authority = authority();
    let own = authority.issue(&["a.test"]);
    let gateway = start(with(&["a"]), &[("a", &own)]);
    for (what, tls, arrange, complaint, place) in cases() {
        arrange(&authority, gateway.directory());
        let config = config(tls);
        let text = serde_json::to_string_pretty(&config).unwrap();
        gateway.write_config(config);
        let error = gateway.reload().expect_err(what).to_string();
        assert!(error.contains(complaint), "{what}: {error}");
        // The excerpt has the caret under the file's name.
        assert!(error.contains("gateway.json:") && error.contains(place), "{what}: {error}");
        assert!(!error.contains("PRIVATE KEY-----\n"), "{what}: {error}");
        let mut client = TlsClient::connect(gateway.address(), "a.test", &authority.client()).await.unwrap();
        assert!(client.was_shown(&own), "{what} in {text}");
        assert_eq!(client.get("/").await.unwrap().status, 200);
    }
    gateway.write_config(config(with(&["a"])));
    gateway.reload().unwrap();
}

#[tokio::test]
async fn all_mistakes_are_told_at_once() {
    let mut config = config(with(&["one", "two"]));
    config["listeners"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "address": "127.0.0.1:0", "name": "other", "tls": with(&["three"]) }));
    let error = TestGateway::try_start(config).err().unwrap().to_string();
    for file in ["one.pem", "one.key", "two.pem", "two.key", "three.pem", "three.key"] {
        assert!(error.contains(&format!("{file}\" cannot be read")), "{file} is missing in {error}");
    }
    assert!(error.contains("6 errors"), "{error}");
}
