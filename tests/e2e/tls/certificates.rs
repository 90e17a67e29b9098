//! Which certificate a client gets.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatewright_tests::{TlsClient, TlsSettings};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize};

use super::{authority, start, with};

#[tokio::test]
async fn the_exact_name_then_a_wildcard_then_the_first() {
    let authority = authority();
    let (first, exact, wildcard) = (
        authority.issue(&["first.test"]),
        authority.issue(&["API.shop.test", "shop.test"]),
        authority.issue(&["*.shop.test"]),
    );
    let gateway =
        start(with(&["first", "exact", "wildcard"]), &[("first", &first), ("exact", &exact), ("wildcard", &wildcard)]);
    for (name, expected) in [
        ("first.test", &first),
        ("api.shop.test", &exact),
        ("shop.test", &exact),
        ("www.shop.test", &wildcard),
        ("Www.Shop.Test", &wildcard),
        // A wildcard stands for one label.
        ("a.b.shop.test", &first),
        ("nobody.test", &first),
        // No name at all: an address is none.
        ("127.0.0.1", &first),
    ] {
        let client = TlsClient::connect(gateway.address(), name, &TlsSettings::trusting_anybody()).await.unwrap();
        assert!(client.was_shown(expected), "{name}");
    }
}

#[tokio::test]
async fn two_kinds_of_keys_for_one_name() {
    let authority = authority();
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let (ecdsa, ed25519) =
        (KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(), KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let certificates = [("rsa", &rsa), ("ecdsa", &ecdsa), ("ed25519", &ed25519)]
        .map(|(name, key)| (name, authority.issue_for(&["a.test"], key, |_| {})));
    let files: Vec<_> = certificates.iter().map(|(name, issued)| (*name, issued)).collect();
    let gateway = start(with(&["ecdsa", "rsa", "ed25519"]), &files);
    std::fs::write(gateway.directory().join("ca.pem"), authority.pem()).unwrap();
    let connect = gateway.address().to_string();
    for (algorithms, kind) in [
        ("ECDSA+SHA256", "ECDSA"),
        ("RSA-PSS+SHA256", "RSA-PSS"),
        ("ed25519", "ed25519"),
        ("RSA-PSS+SHA256:ECDSA+SHA256", "ECDSA"),
    ] {
        for name in [&["-servername", "a.test"][..], &["-noservername"]] {
            let mut arguments = vec!["s_client", "-connect", &connect, "-sigalgs", algorithms, "-tls1_3"];
            arguments.extend(name);
            let shown = super::run("openssl", &arguments).await;
            assert!(shown.0.contains(&format!("Peer signature type: {kind}")), "{algorithms}: {shown:?}");
        }
    }
}

#[tokio::test]
async fn the_whole_chain_is_shown() {
    let root = authority();
    let between = root.between("between");
    let issued = between.issue(&["a.test"]);
    let chain = gatewright_tests::Issued { cert: format!("{}{}", issued.cert, between.pem()), key: issued.key };
    let gateway = start(with(&["a"]), &[("a", &chain)]);
    let mut client = TlsClient::connect(gateway.address(), "a.test", &root.client()).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn the_end_of_each_certificate_is_a_metric() {
    let authority = authority();
    let end = SystemTime::now() + Duration::from_secs(40 * 24 * 60 * 60);
    let end = UNIX_EPOCH + Duration::from_secs(end.duration_since(UNIX_EPOCH).unwrap().as_secs());
    let gateway =
        start(with(&["a"]), &[("a", &authority.issue_with(&["a.test"], |params| params.not_after = end.into()))]);
    let told = gateway.metric("gatewright_tls_certificate_expiry_timestamp_seconds", &["secure", "a.pem"]).await;
    assert_eq!(told, end.duration_since(UNIX_EPOCH).unwrap().as_secs_f64());
}
