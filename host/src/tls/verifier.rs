//! Verifies servers' certificates in two ways that rustls' own verifier does not offer.

use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::provider;
use super::server_names::Accepted;
use super::trust::Roots;

/// Verifies a certificate as usual, but for one of several names if some are listed; and a certificate that the operator
/// has listed needs nobody's signature, even if it is that of an authority, as `openssl req -x509` makes them.
#[derive(Debug)]
pub(super) struct Verifier {
    roots: Roots,
    /// If empty, the name is the requested one.
    names: Vec<Accepted>,
}

impl Verifier {
    pub(super) fn new(roots: Roots, names: Vec<Accepted>) -> Verifier {
        Verifier { roots, names }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        requested: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if self.roots.listed.contains(end_entity) {
            check_by_itself(end_entity, now)?;
        } else {
            let algorithms = provider().signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots.store, intermediates, now, algorithms)?;
        }
        if self.names.is_empty() {
            verify_server_name(&certificate, requested)?;
        } else if !self.names.iter().any(|name| name.is_in(end_entity, &certificate)) {
            return Err(CertificateError::NotValidForName.into());
        }
        Ok(ServerCertVerified::assertion())
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

/// What is checked of a certificate besides who has signed it: the time (RFC 5280 section 4.1.2.5) and the purpose
/// (section 4.2.1.12).
fn check_by_itself(der: &CertificateDer<'_>, time: UnixTime) -> Result<(), CertificateError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateError::BadEncoding)?;
    let validity = certificate.validity();
    let [not_before, not_after] = [validity.not_before, validity.not_after]
        .map(|end| UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(end.timestamp()).unwrap_or(0))));
    if time < not_before {
        return Err(CertificateError::NotValidYetContext { time, not_before });
    }
    if time > not_after {
        return Err(CertificateError::ExpiredContext { time, not_after });
    }
    let purposes = certificate.extended_key_usage().map_err(|_| CertificateError::BadEncoding)?;
    match purposes.is_some_and(|purposes| !purposes.value.server_auth) {
        true => Err(CertificateError::InvalidPurpose),
        false => Ok(()),
    }
}
