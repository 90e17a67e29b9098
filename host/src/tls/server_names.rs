//! Which names a server's certificate may have, if the operator lists them.

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Mistake;
use super::connector::server_name;

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

    pub(super) fn is_in(&self, der: &CertificateDer<'_>, certificate: &ParsedCertificate<'_>) -> bool {
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
