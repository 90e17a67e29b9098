//! TLS that is forwarded as it is: the handshake is between client and server, and the gateway only reads the name.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use gatewright_tests::TestGateway;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

/// A TLS server with a certificate of its own for these names, which answers with its name and what it gets.
async fn tls_server(name: &'static str, names: &[&str]) -> (Scripted, CertificateDer<'static>) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let issued = rcgen::generate_simple_self_signed(names).unwrap();
    let certificate = issued.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = config.with_single_cert(vec![certificate.clone()], key.into()).unwrap();
    config.alpn_protocols = vec![b"its-own".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = Scripted::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut buffer = [0; 100];
            let Ok(read) = stream.read(&mut buffer).await else { return };
            let _ = stream.write_all(&[name.as_bytes(), b": ", &buffer[..read]].concat()).await;
            let _ = stream.shutdown().await;
        }
    })
    .await;
    (server, certificate)
}

fn client_config(trusted: &CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"its-own".to_vec()];
    Arc::new(config)
}

async fn handshake(
    address: SocketAddr,
    name: &str,
    trusted: &CertificateDer<'static>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(client_config(trusted)).connect(name, stream).await
}

/// What the server that the name leads to answers, over TLS that nobody but it can end.
async fn ask(address: SocketAddr, name: &str, trusted: &CertificateDer<'static>) -> String {
    let mut stream = handshake(address, name, trusted).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"its-own"[..]));
    stream.write_all(b"hello").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn passthrough_goes_by_server_name_and_leaves_the_handshake_alone() {
    let (a, a_certificate) = tls_server("a", &["a.example"]).await;
    let (b, b_certificate) = tls_server("b", &["x.b.example", "x.y.b.example"]).await;
    let (rest, rest_certificate) = tls_server("rest", &["else.example", "127.0.0.1"]).await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "a": [a.text()], "b": [b.text()], "rest": [rest.text()] },
        "listeners": [{
            "address": "127.0.0.1:0", "name": "tls",
            "passthrough": [
                { "sni": "a.example", "to": "a" },
                { "sni": ["*.b.example", "b.example"], "to": [{ "upstream": "b" }] },
                { "to": "rest" },
            ],
        }],
    }));
    let address = gateway.address();
    for (name, certificate, expected) in [
        ("a.example", &a_certificate, "a: hello"),
        ("x.b.example", &b_certificate, "b: hello"),
        ("x.y.b.example", &b_certificate, "b: hello"),
        ("else.example", &rest_certificate, "rest: hello"),
        // No server name is sent for an address.
        ("127.0.0.1", &rest_certificate, "rest: hello"),
    ] {
        assert_eq!(ask(address, name, certificate).await, expected, "{name}");
    }
    let records = gateway.wait_for_records(5).await;
    let first = records.iter().find(|record| record["server_name"] == "a.example").unwrap();
    assert_eq!((&first["protocol"], &first["upstream"]), (&json!("tls"), &json!("a")), "{first}");
    assert!(records.iter().any(|record| record.get("server_name").is_none()), "{records:#?}");
}

#[tokio::test]
async fn passthrough_refuses_names_that_no_entry_takes_with_an_alert() {
    let (a, certificate) = tls_server("a", &["a.example", "b.example"]).await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "a": [a.text()] },
        "listeners": [{ "address": "127.0.0.1:0", "passthrough": [{ "sni": "a.example", "to": "a" }] }],
    }));
    let error = handshake(gateway.address(), "b.example", &certificate).await.unwrap_err();
    let alert = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    assert_eq!(alert, Some(&rustls::Error::AlertReceived(AlertDescription::UnrecognisedName)));
    let record = gateway.wait_for_records(1).await.remove(0);
    assert_eq!((&record["outcome"], &record["server_name"]), (&json!("refused"), &json!("b.example")), "{record}");
    assert_eq!(ask(gateway.address(), "a.example", &certificate).await, "a: hello");
}

#[tokio::test]
async fn passthrough_reads_a_hello_that_comes_byte_by_byte_in_records_of_few_bytes() {
    let (a, certificate) = tls_server("a", &["a.example"]).await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "a": [a.text()] },
        "listeners": [{ "address": "127.0.0.1:0", "passthrough": [{ "sni": "a.example", "to": "a" }] }],
    }));
    let name = ServerName::try_from("a.example").unwrap();
    let mut tls = ClientConnection::new(client_config(&certificate), name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    // The message inside its one record, cut into records of 50 bytes.
    for fragment in hello[5..].chunks(50) {
        let record = [&[22, 3, 1, 0, fragment.len() as u8], fragment].concat();
        for piece in record.chunks(20) {
            stream.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
    }
    // The server's first message comes back: a handshake record.
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!((answer[0], answer[5]), (22, 2), "{answer:?}");
}

#[tokio::test]
async fn passthrough_closes_on_what_is_no_tls_and_on_who_says_nothing() {
    let (a, _) = tls_server("a", &["a.example"]).await;
    let gateway = TestGateway::start(json!({
        "timeouts": { "header_read": "1s" },
        "upstreams": { "a": [a.text()] },
        "listeners": [{ "address": "127.0.0.1:0", "passthrough": [{ "to": "a" }] }],
    }));
    let silent = TcpStream::connect(gateway.address()).await.unwrap();
    for garbage in [&b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n"[..], b"SSH-2.0-x\r\n", &[22, 3, 1, 0, 4, 2, 0, 0, 0]]
    {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer).await {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        assert!(answer.is_empty(), "{answer:?}");
    }
    // One byte keeps nobody: the deadline is for the whole hello.
    let mut slow = TcpStream::connect(gateway.address()).await.unwrap();
    slow.write_all(&[22]).await.unwrap();
    for mut stream in [silent, slow] {
        assert!(closes(&mut stream).await);
    }
    let records = gateway.wait_for_records(5).await;
    let count = |outcome: &str| records.iter().filter(|record| record["outcome"] == outcome).count();
    assert_eq!((count("refused"), count("timed-out")), (3, 2), "{records:#?}");
    assert!(records.iter().all(|record| record.get("endpoint").is_none()), "{records:#?}");
}
