//! Certificate authorities, certificates, and clients that look closely.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, ProtocolVersion, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{Answer, Client};

/// A certificate authority of a test's own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate that an authority has signed, with its key, in PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        Authority(CertifiedIssuer::self_signed(authority_params(name), KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for these DNS names and IP addresses.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| {})
    }

    /// The same with anything else.
    pub fn issue_with(&self, names: &[&str], arrange: impl FnOnce(&mut CertificateParams)) -> Issued {
        self.issue_for(names, &KeyPair::generate().unwrap(), arrange)
    }

    /// The same for a key that is there.
    pub fn issue_for(&self, names: &[&str], key: &KeyPair, arrange: impl FnOnce(&mut CertificateParams)) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        arrange(&mut params);
        let certificate = params.signed_by(key, &self.0).unwrap();
        Issued { cert: certificate.pem(), key: key.serialize_pem() }
    }

    /// An authority below this one.
    pub fn between(&self, name: &str) -> Authority {
        let mut params = authority_params(name);
        params.use_authority_key_identifier_extension = true;
        Authority(CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.0).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// For clients that trust this authority alone.
    pub fn client(&self) -> TlsSettings {
        TlsSettings { trust: Trust::Roots(self.roots()), ..TlsSettings::trusting_anybody() }
    }

    /// This authority alone.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Issued {
    /// Writes `STEM.pem` and `STEM.key`, each in one step.
    pub fn write(&self, directory: &Path, stem: &str) {
        for (name, text) in [(format!("{stem}.pem"), &self.cert), (format!("{stem}.key"), &self.key)] {
            let beside = directory.join(format!(".{name}.new"));
            std::fs::write(&beside, text).unwrap();
            std::fs::rename(beside, directory.join(name)).unwrap();
        }
    }

    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }

    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

/// How a client speaks TLS.
#[derive(Clone)]
pub struct TlsSettings {
    trust: Trust,
    alpn: Vec<&'static str>,
    versions: Vec<&'static SupportedProtocolVersion>,
    certificate: Option<Issued>,
}

#[derive(Clone)]
enum Trust {
    Anybody,
    Roots(RootCertStore),
}

impl TlsSettings {
    pub fn trusting_anybody() -> TlsSettings {
        TlsSettings {
            trust: Trust::Anybody,
            alpn: Vec::new(),
            versions: rustls::ALL_VERSIONS.to_vec(),
            certificate: None,
        }
    }

    /// Trusts this very certificate, as one does who has looked at it.
    pub fn trusting(certificate: &CertificateDer<'static>) -> TlsSettings {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        TlsSettings { trust: Trust::Roots(roots), ..TlsSettings::trusting_anybody() }
    }

    pub fn alpn(mut self, protocols: &[&'static str]) -> TlsSettings {
        self.alpn = protocols.to_vec();
        self
    }

    pub fn tls12(mut self) -> TlsSettings {
        self.versions = vec![&rustls::version::TLS12];
        self
    }

    pub fn tls13(mut self) -> TlsSettings {
        self.versions = vec![&rustls::version::TLS13];
        self
    }

    /// Shows this certificate where one is asked for.
    pub fn showing(mut self, certificate: &Issued) -> TlsSettings {
        self.certificate = Some(certificate.clone());
        self
    }

    /// One configuration; connections made with it share sessions.
    pub fn build(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&self.versions).unwrap();
        let builder = match &self.trust {
            Trust::Roots(roots) => builder.with_root_certificates(roots.clone()),
            Trust::Anybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        };
        let mut config = match &self.certificate {
            None => builder.with_no_client_auth(),
            Some(own) => builder.with_client_auth_cert(vec![own.der()], own.key_der()).unwrap(),
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.resumption = Resumption::in_memory_sessions(64);
        Arc::new(config)
    }
}

/// A connection over TLS, and what its handshake told.
pub struct TlsClient {
    pub client: Client,
    pub version: ProtocolVersion,
    pub alpn: Option<String>,
    pub kind: HandshakeKind,
    /// What the gateway showed.
    pub certificate: CertificateDer<'static>,
}

impl TlsClient {
    /// Connects for `name`, which may be an IP address: then there is no SNI.
    pub async fn connect(address: SocketAddr, name: &str, settings: &TlsSettings) -> std::io::Result<TlsClient> {
        TlsClient::with(address, name, settings.build()).await
    }

    /// The same with a configuration whose sessions may be resumed.
    pub async fn with(address: SocketAddr, name: &str, config: Arc<ClientConfig>) -> std::io::Result<TlsClient> {
        let stream = TlsClient::stream(address, name, config).await?;
        let (_, connection) = stream.get_ref();
        let alpn = connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        let (version, kind) = (connection.protocol_version().unwrap(), connection.handshake_kind().unwrap());
        let certificate = connection.peer_certificates().unwrap()[0].clone().into_owned();
        let is_http2 = alpn.as_deref() == Some("h2");
        let client = Client::over(stream, is_http2, address, name).await.map_err(std::io::Error::other)?;
        Ok(TlsClient { client, version, alpn, kind, certificate })
    }

    /// The stream alone.
    pub async fn stream(
        address: SocketAddr,
        name: &str,
        config: Arc<ClientConfig>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(config).connect(name, stream).await
    }

    /// One GET.
    pub async fn get(&mut self, path: &str) -> hyper::Result<Answer> {
        self.client.send("GET", path, &[], "").await
    }

    /// Whether this is the certificate that was shown.
    pub fn was_shown(&self, certificate: &Issued) -> bool {
        self.certificate == certificate.der()
    }
}

/// Accepts any certificate, and checks that its owner signed the handshake.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
