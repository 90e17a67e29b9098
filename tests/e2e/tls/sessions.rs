//! Sessions that are taken up again.

use gatewright_tests::TlsClient;
use rustls::HandshakeKind;

use super::{authority, start, told, with};

#[tokio::test]
async fn sessions_are_resumed_on_every_core_and_across_reloads() {
    let authority = authority();
    let gateway = start(with(&["a"]), &[("a", &authority.issue(&["a.test"]))]);
    for settings in [authority.client().tls12(), authority.client().tls13().alpn(&["h2"])] {
        let sessions = settings.build();
        let mut kinds = Vec::new();
        for round in 0..8 {
            let mut client = TlsClient::with(gateway.address(), "a.test", sessions.clone()).await.unwrap();
            let answer = client.get("/").await.unwrap();
            assert_eq!(told(&answer, "x-resumed"), Some((round > 0).to_string()));
            kinds.push(client.kind);
            if round == 3 {
                gateway.reload().unwrap();
            }
            if round == 5 {
                // A new certificate is no reason to forget anybody.
                authority.issue(&["a.test"]).write(gateway.directory(), "a");
                gateway.reload().unwrap();
            }
        }
        assert_eq!(kinds[0], HandshakeKind::Full);
        assert!(kinds[1..].iter().all(|kind| *kind == HandshakeKind::Resumed), "{kinds:?}");
    }
    assert_eq!(gateway.metric("gatewright_tls_handshakes_total", &["resumed"]).await, 14.0);
}

#[tokio::test]
async fn a_session_is_no_way_to_another_name() {
    let authority = authority();
    let gateway =
        start(with(&["a", "b"]), &[("a", &authority.issue(&["a.test"])), ("b", &authority.issue(&["b.test"]))]);
    let sessions = authority.client().build();
    for (name, kind) in
        [("a.test", HandshakeKind::Full), ("b.test", HandshakeKind::Full), ("a.test", HandshakeKind::Resumed)]
    {
        let mut client = TlsClient::with(gateway.address(), name, sessions.clone()).await.unwrap();
        client.get("/").await.unwrap();
        assert_eq!(client.kind, kind, "{name}");
    }
}

/// Clients of TLS 1.2 that take no tickets resume by a table on the gateway's side.
#[tokio::test]
async fn openssl_resumes_without_tickets() {
    let authority = authority();
    let gateway = start(with(&["a"]), &[("a", &authority.issue(&["a.test"]))]);
    let connect = gateway.address().to_string();
    for flags in [&["-tls1_2", "-no_ticket"][..], &["-tls1_2"]] {
        let mut arguments = vec!["s_client", "-connect", &connect, "-servername", "a.test", "-reconnect"];
        arguments.extend(flags);
        let shown = super::run("openssl", &arguments).await;
        assert_eq!(shown.0.matches("\nReused, TLSv1.2").count(), 5, "{shown:?}");
    }
}
