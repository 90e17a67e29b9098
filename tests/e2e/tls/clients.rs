//! Clients that show certificates.

use gatewright_tests::{Authority, TestGateway, TlsClient, TlsSettings};
use rcgen::{DnType, SanType, SerialNumber};
use serde_json::json;

use super::{authority, config, told, with};

fn gateway(authority: &Authority, clients: &Authority, required: bool) -> TestGateway {
    let mut tls = with(&["a"]);
    tls["client"] = json!({ "ca": "clients.pem", "required": required });
    TestGateway::start_beside(config(tls), |directory| {
        authority.issue(&["a.test"]).write(directory, "a");
        std::fs::write(directory.join("clients.pem"), clients.pem()).unwrap();
    })
}

#[tokio::test]
async fn plugins_see_what_a_client_certificate_says() {
    let (authority, clients) = (authority(), Authority::new("clients"));
    let gateway = gateway(&authority, &clients, true);
    let certificate = clients.issue_with(&[], |params| {
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, "orders, the service");
        params.serial_number = Some(SerialNumber::from_slice(&[0x0a, 0x0b]));
        params.subject_alt_names = vec![
            SanType::DnsName("orders.test".try_into().unwrap()),
            SanType::URI("spiffe://example/orders".try_into().unwrap()),
        ];
    });
    for settings in [authority.client().tls12(), authority.client().tls13().alpn(&["h2"])] {
        let settings = settings.showing(&certificate);
        let mut client = TlsClient::connect(gateway.address(), "a.test", &settings).await.unwrap();
        let answer = client.client.send("GET", "/", &[("x-subject", "CN=forged")], "").await.unwrap();
        assert_eq!(told(&answer, "x-subject").as_deref(), Some(r"CN=orders\, the service,O=Example"));
        assert_eq!(told(&answer, "x-issuer").as_deref(), Some("CN=clients"));
        assert_eq!(told(&answer, "x-serial").as_deref(), Some("0a0b"));
        assert_eq!(told(&answer, "x-names").as_deref(), Some("DNS:orders.test,URI:spiffe://example/orders"));
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &certificate.der());
        let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(told(&answer, "x-fingerprint"), Some(digest));
    }
    let record = gateway.wait_for_records(2).await.pop().unwrap();
    assert_eq!(record["tls_client"], r"CN=orders\, the service,O=Example");
}

/// Whether a client like this is served, and what the plugin knows of it.
async fn served(gateway: &TestGateway, settings: &TlsSettings) -> Option<Option<String>> {
    // With TLS 1.3 the client believes in the connection before the gateway has looked at its certificate.
    let mut client = TlsClient::connect(gateway.address(), "a.test", settings).await.ok()?;
    let answer = client.get("/").await.ok()?;
    assert_eq!(answer.status, 200);
    Some(told(&answer, "x-subject"))
}

#[tokio::test]
async fn required_certificates_are_required_and_optional_ones_are_not() {
    let (authority, clients) = (authority(), Authority::new("clients"));
    let named = |authority: &Authority| {
        authority.issue_with(&[], |params| params.distinguished_name.push(DnType::CommonName, "c"))
    };
    let (good, foreign) = (named(&clients), named(&Authority::new("somebody else")));
    let expired = clients.issue_with(&[], |params| params.not_after = std::time::UNIX_EPOCH.into());
    for required in [true, false] {
        let gateway = gateway(&authority, &clients, required);
        for settings in [authority.client().tls12(), authority.client().tls13()] {
            let subject = Some(Some("CN=c".to_owned()));
            assert_eq!(served(&gateway, &settings.clone().showing(&good)).await, subject, "{required}");
            assert_eq!(served(&gateway, &settings.clone().showing(&foreign)).await, None, "{required}");
            assert_eq!(served(&gateway, &settings.clone().showing(&expired)).await, None, "{required}");
            let without = served(&gateway, &settings).await;
            assert_eq!(without, (!required).then_some(None), "{required}");
        }
    }
}

/// A session that was made when anybody was let in must not be a way around the rule of today.
#[tokio::test]
async fn no_session_outlives_the_rule_that_it_was_made_under() {
    let (authority, clients) = (authority(), Authority::new("clients"));
    for settings in [authority.client().tls12(), authority.client().tls13()] {
        let gateway = gateway(&authority, &clients, false);
        let sessions = settings.build();
        for kind in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
            let mut client = TlsClient::with(gateway.address(), "a.test", sessions.clone()).await.unwrap();
            assert_eq!(client.get("/").await.unwrap().status, 200);
            assert_eq!(client.kind, kind);
        }
        let mut tls = with(&["a"]);
        tls["client"] = json!({ "ca": "clients.pem" });
        gateway.write_config(config(tls));
        gateway.reload().unwrap();
        let refused = match TlsClient::with(gateway.address(), "a.test", sessions.clone()).await {
            Ok(mut client) => client.get("/").await.is_err(),
            Err(_) => true,
        };
        assert!(refused);
    }
}
