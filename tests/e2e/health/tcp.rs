//! TCP probes.

use super::*;
use gatewright_tests::Scripted;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_connection_is_enough() {
    let server = Scripted::start(|_stream| async {}).await;
    let gateway = gateway(json!({ "endpoints": [server.text()], "health": often(json!({ "tcp": {} })) }));
    let address = server.text();
    assert_eq!(until_probed_again(&gateway, &address).await["state"], "healthy");
    drop(server);
    let found = until(&gateway, &address, "unhealthy").await;
    assert!(found["reason"].as_str().unwrap().starts_with("probe of the connection: no connection"), "{found:#}");
    // It recovers as soon as something listens there again.
    let _listener = tokio::net::TcpListener::bind(&address).await.unwrap();
    until(&gateway, &address, "healthy").await;
}

#[tokio::test]
async fn a_text_is_sent_and_another_expected() {
    let server = Scripted::start(|mut stream| async move {
        let mut ping = [0; 6];
        if stream.read_exact(&mut ping).await.is_ok() && &ping == b"PING\r\n" {
            let _ = stream.write_all(b"+PO").await;
            let _ = stream.write_all(b"NG\r\n").await;
        }
        let _ = stream.shutdown().await;
    })
    .await;
    for (tcp, error) in [
        (json!({ "send": "PING\r\n", "expect": "+PONG" }), None),
        (json!({ "send": "PING\r\n", "expect": "+LOADING" }), Some("\"+LOADING\" is not in the 7 bytes that came")),
        (json!({ "send": "QUIT\r\n", "expect": "+PONG" }), Some("\"+PONG\" is not in the 0 bytes that came")),
    ] {
        let gateway = gateway(json!({ "endpoints": [server.text()], "health": often(json!({ "tcp": tcp })) }));
        let probed = until_probed_again(&gateway, &server.text()).await;
        assert_eq!(
            probed["last_probe_error"].as_str(),
            error.map(|it| format!("probe of the connection: {it}")).as_deref()
        );
    }
}

/// Servers behind the PROXY protocol read a header first: of a probe, that it is for nobody.
#[tokio::test]
async fn a_server_that_wants_the_proxy_protocol_is_told_that_the_gateway_speaks_for_itself() {
    for (version, header) in [("v1", &b"PROXY UNKNOWN\r\n"[..]), ("v2", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")] {
        let server = Scripted::start(move |mut stream| async move {
            let mut got = vec![0; header.len() + 6];
            if stream.read_exact(&mut got).await.is_ok() && got == [header, b"PING\r\n"].concat() {
                let _ = stream.write_all(b"+PONG").await;
            }
            let _ = stream.shutdown().await;
        })
        .await;
        let tcp = json!({ "send": "PING\r\n", "expect": "+PONG" });
        let upstream = json!({
            "endpoints": [server.text()], "proxy_protocol": version, "health": often(json!({ "tcp": tcp })),
        });
        let gateway = TestGateway::start(json!({
            "listeners": [{ "address": "127.0.0.1:0", "protocol": "tcp", "to": "orders" }],
            "upstreams": { "orders": upstream },
        }));
        let probed = until_probed_again(&gateway, &server.text()).await;
        assert_eq!(probed["last_probe_error"], json!(null), "{version}: {probed:#}");
    }
}
