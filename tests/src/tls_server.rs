//! TLS in front of any server of a test.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::tls::{Authority, Issued};

/// How a server speaks TLS.
#[derive(Clone)]
pub struct ServerTls {
    certificate: Issued,
    alpn: Vec<&'static str>,
    versions: Vec<&'static SupportedProtocolVersion>,
    clients: Option<RootCertStore>,
}

impl ServerTls {
    /// With this certificate, for whoever comes, in any version and without ALPN.
    pub fn showing(certificate: &Issued) -> ServerTls {
        let versions = rustls::ALL_VERSIONS.to_vec();
        ServerTls { certificate: certificate.clone(), alpn: Vec::new(), versions, clients: None }
    }

    pub fn alpn(mut self, protocols: &[&'static str]) -> ServerTls {
        self.alpn = protocols.to_vec();
        self
    }

    pub fn tls12(mut self) -> ServerTls {
        self.versions = vec![&rustls::version::TLS12];
        self
    }

    /// Refuses clients without a certificate of this authority.
    pub fn for_clients_of(mut self, authority: &Authority) -> ServerTls {
        self.clients = Some(authority.roots());
        self
    }

    pub fn build(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(&self.versions).unwrap();
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let mut config = builder.with_single_cert(vec![self.certificate.der()], self.certificate.key_der()).unwrap();
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// A handshake that a front has made.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// What was asked for (SNI).
    pub server_name: Option<String>,
    pub alpn: Option<String>,
    pub version: ProtocolVersion,
    pub kind: HandshakeKind,
    /// What the client showed.
    pub client: Option<CertificateDer<'static>>,
}

/// Ends the TLS of connections and passes what is in them to a server. It ends when it is dropped.
pub struct TlsFront {
    address: SocketAddr,
    handshakes: Arc<Mutex<Vec<Handshake>>>,
    task: JoinHandle<()>,
}

impl TlsFront {
    /// In front of the server at `address`.
    pub async fn start(tls: &ServerTls, address: &str) -> TlsFront {
        let (acceptor, behind) = (TlsAcceptor::from(tls.build()), address.to_owned());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let handshakes = Arc::<Mutex<Vec<Handshake>>>::default();
        let seen = handshakes.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let (acceptor, behind, seen) = (acceptor.clone(), behind.clone(), seen.clone());
                connections.spawn(async move {
                    // What does not come to a handshake is what some tests are about.
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let (_, connection) = stream.get_ref();
                    let alpn = connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
                    let shown = connection.peer_certificates().and_then(|chain| chain.first());
                    seen.lock().unwrap().push(Handshake {
                        server_name: connection.server_name().map(str::to_owned),
                        alpn,
                        version: connection.protocol_version().unwrap(),
                        kind: connection.handshake_kind().unwrap(),
                        client: shown.map(|certificate| certificate.clone().into_owned()),
                    });
                    let Ok(mut server) = TcpStream::connect(behind).await else { return };
                    server.set_nodelay(true).unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut server).await;
                });
            }
        });
        TlsFront { address, handshakes, task }
    }

    /// `127.0.0.1:port`.
    pub fn text(&self) -> String {
        self.address.to_string()
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn handshakes(&self) -> Vec<Handshake> {
        self.handshakes.lock().unwrap().clone()
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}
