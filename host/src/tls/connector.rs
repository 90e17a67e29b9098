//! TLS with servers: trusted authorities, expected names, the client certificate.
//!
//! The server's certificate is always verified: its chain up to an authority, its validity period and its names. There
//! is no way around it; a server with a self-signed certificate is trusted by listing that certificate as an authority.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::{ClientConfig, Resumption, WantsClientCert};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ConfigBuilder, Error, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::certificate::{Certified, Fault, certificates, digest_of, quoted, read_file};
use super::server_names::Accepted;
use super::trust::{Roots, Trust, unusable};
use super::verifier::Verifier;
use super::{Alpn, Expiry, Mistake, Pair, provider};

/// A connection to a server after its handshake.
pub type ServerStream = tokio_rustls::client::TlsStream<TcpStream>;

/// TLS settings for connections to servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// The file with the authorities. `None`: those of [`Trust`].
    pub ca: Option<PathBuf>,
    /// The name that is sent (SNI) and that the certificate has to be valid for. `None`: the host of the server's
    /// address.
    pub server_name: Option<String>,
    /// Names that the certificate has to be valid for instead, at least one of them: host names, IP addresses, URIs.
    pub names: Vec<String>,
    /// The certificate for servers that ask for one.
    pub certificate: Option<Pair>,
    /// Whether TLS 1.2 is allowed in addition to TLS 1.3.
    pub tls12: bool,
}

/// The part of the settings that a mistake is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutgoingPart {
    Whole,
    Authorities,
    ServerName,
    Name(usize),
    Certificate,
    Key,
}

/// All mistakes, each with its part.
type Mistakes = Vec<(OutgoingPart, Mistake)>;

/// TLS for connections to servers, ready for use. Connections share sessions, so that most handshakes are short.
pub struct Connector {
    connector: TlsConnector,
    settings: Outgoing,
    shown: Option<Certified>,
    /// Of everything that it was made from.
    digest: [u8; 32],
}

/// Why there is no TLS connection. The text is for the operator.
#[derive(Debug)]
pub enum Failed {
    /// No certificate can be valid for this host.
    Host(String),
    /// The server did not agree to this protocol.
    Protocol(Alpn),
    /// The handshake failed on either side.
    Handshake(io::Error),
}

impl Connector {
    /// Reads the files. If the settings and all bytes are those of `previous`, returns `previous` itself, which keeps
    /// its connections and sessions.
    ///
    /// A certificate that is not valid `now` is a mistake, unless it was in use before.
    ///
    /// # Errors
    /// All mistakes, each with its part.
    pub fn load(
        settings: Outgoing,
        trust: &Trust,
        previous: Option<&Arc<Connector>>,
        now: SystemTime,
    ) -> Result<Arc<Connector>, Mistakes> {
        let mut mistakes = Vec::new();
        let mut told = |part, mistake| mistakes.push((part, mistake));
        let roots = match &settings.ca {
            None => trust.roots().map_err(|mistake| told(OutgoingPart::Whole, mistake)).ok(),
            Some(file) => authorities(file).map_err(|mistake| told(OutgoingPart::Authorities, mistake)).ok(),
        };
        if let Some(name) = &settings.server_name
            && server_name(name).is_none()
        {
            let wrong = Mistake::new(format!("{name:?} is neither a host name nor an IP address"));
            told(OutgoingPart::ServerName, wrong.with_help("it stands alone, without a port: \"orders.internal\""));
        }
        let names = Accepted::parse(&settings.names).map_err(|(at, mistake)| told(OutgoingPart::Name(at), mistake));
        let shown = settings.certificate.as_ref().map(|pair| show(pair, previous, now));
        let (shown, shown_digest) = match shown.transpose() {
            Ok(shown) => shown.unzip(),
            Err(found) => {
                found.into_iter().for_each(|(part, mistake)| told(part, mistake));
                (None, None)
            }
        };
        let (Some(roots), Ok(names), true) = (roots, names, mistakes.is_empty()) else { return Err(mistakes) };
        let written = format!("{settings:?}");
        let parts = [written.as_bytes(), &roots.digest, shown_digest.as_ref().map_or(&[][..], |digest| digest)];
        let digest = digest_of(parts);
        if let Some(previous) = previous.filter(|previous| previous.digest == digest) {
            return Ok(previous.clone());
        }
        let config = config(&settings, roots, names, shown.as_ref())
            .map_err(|error| vec![(OutgoingPart::Whole, Mistake::new(error.to_string()))])?;
        Ok(Arc::new(Connector { connector: TlsConnector::from(Arc::new(config)), settings, shown, digest }))
    }

    /// Does the handshake with the server at this host. `alpn` is the protocol that it has to agree to; `None` leaves
    /// that to the caller, who also has to limit the time.
    ///
    /// # Errors
    /// The connection has been closed.
    pub async fn connect(&self, host: &str, alpn: Option<Alpn>, stream: TcpStream) -> Result<ServerStream, Failed> {
        let host = self.settings.server_name.as_deref().unwrap_or(host);
        let name = server_name(host).ok_or_else(|| Failed::Host(host.to_owned()))?;
        let protocols = alpn.map(|alpn| alpn.id().to_vec()).into_iter().collect();
        let stream = self.connector.with_alpn(protocols).connect(name, stream).await.map_err(Failed::Handshake)?;
        match (alpn, stream.get_ref().1.alpn_protocol()) {
            // A server that does not know ALPN speaks HTTP/1.1, as all did before ALPN.
            (Some(Alpn::Http1), _) | (None, _) => Ok(stream),
            (Some(alpn), agreed) if agreed == Some(alpn.id()) => Ok(stream),
            (Some(alpn), _) => Err(Failed::Protocol(alpn)),
        }
    }

    pub fn settings(&self) -> &Outgoing {
        &self.settings
    }

    /// When the certificate for servers expires.
    pub fn expiry(&self) -> Option<Expiry> {
        let (pair, certified) = (self.settings.certificate.as_ref()?, self.shown.as_ref()?);
        Some(Expiry {
            certificate: pair.cert.display().to_string(),
            not_before: certified.valid.not_before,
            not_after: certified.valid.not_after,
        })
    }
}

impl Outgoing {
    /// The files that are read.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.ca.iter().chain(self.certificate.iter().flat_map(|pair| [&pair.cert, &pair.key]))
    }
}

/// The authorities in a file, as [`Connector`] needs them.
fn authorities(file: &Path) -> Result<Roots, Mistake> {
    let all = certificates(file, &read_file(file)?)?;
    Roots::of(&all).map_err(|reason| unusable(&quoted(file), &reason))
}

/// The certificate for servers, and a digest of its files.
fn show(pair: &Pair, previous: Option<&Arc<Connector>>, now: SystemTime) -> Result<(Certified, [u8; 32]), Mistakes> {
    let mut mistakes = Vec::new();
    let mut read = |path: &Path, part| read_file(path).map_err(|mistake| mistakes.push((part, mistake))).ok();
    let (cert, key) = (read(&pair.cert, OutgoingPart::Certificate), read(&pair.key, OutgoingPart::Key));
    let (Some(cert), Some(key)) = (cert, key) else { return Err(mistakes) };
    let certified = Certified::parse(&pair.cert, &cert, &pair.key, &key).map_err(|fault| match fault {
        Fault::Certificate(mistake) => vec![(OutgoingPart::Certificate, mistake)],
        Fault::Key(mistake) => vec![(OutgoingPart::Key, mistake)],
    })?;
    let known = previous.and_then(|previous| previous.shown.as_ref());
    let in_use = known.is_some_and(|known| known.key.cert == certified.key.cert);
    match certified.valid.check(&pair.cert, now) {
        Err(mistake) if !in_use => Err(vec![(
            OutgoingPart::Certificate,
            Mistake { help: Some("no server would accept it".into()), ..mistake },
        )]),
        _ => Ok((certified, digest_of([&cert[..], &key]))),
    }
}

fn config(
    settings: &Outgoing,
    roots: Roots,
    names: Vec<Accepted>,
    shown: Option<&Certified>,
) -> Result<ClientConfig, Error> {
    let versions: &[&'static SupportedProtocolVersion] = if settings.tls12 { &[&TLS13, &TLS12] } else { &[&TLS13] };
    let builder = ClientConfig::builder_with_provider(provider().clone()).with_protocol_versions(versions)?;
    let builder: ConfigBuilder<ClientConfig, WantsClientCert> = match names.is_empty() && roots.listed.is_empty() {
        true => builder.with_root_certificates(roots.store),
        // The danger is a verifier that accepts too much: this one accepts only what the operator has listed besides.
        false => builder.dangerous().with_custom_certificate_verifier(Arc::new(Verifier::new(roots, names))),
    };
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(certified) => {
            builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified.key.clone())))
        }
    };
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(config)
}

/// A host as a name in certificates; a trailing dot belongs to DNS only.
pub(super) fn server_name(host: &str) -> Option<ServerName<'static>> {
    let host = host.strip_suffix('.').unwrap_or(host);
    ServerName::try_from(host.to_owned()).ok()
}

impl PartialEq for Connector {
    fn eq(&self, other: &Connector) -> bool {
        self.digest == other.digest
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// In the terms of the configuration.
impl fmt::Display for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TLS")?;
        if let Some(name) = &self.server_name {
            write!(f, " as {name}")?;
        }
        match &self.ca {
            Some(ca) => write!(f, ", trusting {}", ca.display())?,
            None => f.write_str(", trusting the system's authorities")?,
        }
        if !self.names.is_empty() {
            write!(f, ", certificate for {}", self.names.join(" or "))?;
        }
        if let Some(pair) = &self.certificate {
            write!(f, ", showing {}", pair.cert.display())?;
        }
        if !self.tls12 {
            f.write_str(", TLS 1.3 only")?;
        }
        Ok(())
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Host(host) => write!(f, "no certificate can be for {host:?}; say \"server_name\""),
            Failed::Protocol(Alpn::Http2) => f.write_str("the server does not offer HTTP/2 (ALPN h2)"),
            Failed::Protocol(Alpn::Http1) => f.write_str("the server does not offer HTTP/1.1"),
            Failed::Handshake(error) => match error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) {
                Some(cause) => reason(cause, f),
                None if is_hang_up(error) => f.write_str("the server closed the connection within the handshake"),
                None => write!(f, "{error}"),
            },
        }
    }
}

impl std::error::Error for Failed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Failed::Handshake(error) => Some(error),
            _ => None,
        }
    }
}

/// Whether the server closed: in an orderly way, or with a reset while something of ours was still on its way.
fn is_hang_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

/// rustls' reasons in words that say what to check; those that already say more stay as they are.
fn reason(error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            f.write_str("no trusted authority has signed the server's certificate")
        }
        Error::InvalidCertificate(CertificateError::NotValidForName) => {
            f.write_str("the server's certificate is for none of the names that it has to be for")
        }
        Error::InvalidCertificate(why) => write!(f, "the server's certificate is refused: {why}"),
        Error::InvalidMessage(_) => f.write_str("the server does not speak TLS"),
        Error::AlertReceived(alert) => write!(f, "the server refused the handshake: {alert:?}"),
        Error::NoApplicationProtocol => f.write_str("the server does not offer the upstream's protocol (ALPN)"),
        error => write!(f, "{error}"),
    }
}

/// Number of servers whose sessions are kept, the newest of each.
const SESSIONS: usize = 256;

#[cfg(test)]
mod tests;
