//! Which names a server's certificate may have, if the operator lists them.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::connector::server_name;
use super::{Mistake, provider};

/// A name that a certificate may be valid for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Accepted {
    /// A host name, which a wildcard of the certificate may match, or an IP address.
    Host(ServerName<'static>),
    /// A URI, as used for workload identities (SPIFFE); compared exactly.
    Uri(String),
}

impl Accepted {
    /// The error has its position in the list.
    pub(super) fn parse(names: &[String]) -> Result<Vec<Accepted>, (usize, Mistake)> {
        let parse = |(at, name): (usize, &String)| match name.contains("://") {
            true => Ok(Accepted::Uri(name.clone())),
            false => server_name(name).map(Accepted::Host).ok_or_else(|| {
                let wrong = Mistake::new(format!("{name:?} is neither a host name, nor an IP address, nor a URI"));
                (at, wrong.with_help("such as \"orders.internal\", \"10.0.0.1\" or \"spiffe://example/orders\""))
            }),
        };
        names.iter().enumerate().map(parse).collect()
    }

    fn is_in(&self, der: &CertificateDer<'_>, certificate: &ParsedCertificate<'_>) -> bool {
        match self {
            Accepted::Host(name) => verify_server_name(certificate, name).is_ok(),
            Accepted::Uri(uri) => has_uri(der, uri).unwrap_or(false),
        }
    }
}

fn has_uri(der: &CertificateDer<'_>, uri: &str) -> Option<bool> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = &certificate.subject_alternative_name().ok()??.value.general_names;
    Some(names.iter().any(|name| matches!(name, GeneralName::URI(found) if *found == uri)))
}

/// Verifies a certificate as usual, but for one of these names instead of the requested one.
#[derive(Debug)]
pub(super) struct AnyName {
    roots: Arc<RootCertStore>,
    names: Vec<Accepted>,
}

impl AnyName {
    pub(super) fn new(roots: Arc<RootCertStore>, names: Vec<Accepted>) -> AnyName {
        AnyName { roots, names }
    }
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        match self.names.iter().any(|name| name.is_in(end_entity, &certificate)) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::NotValidForName.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
