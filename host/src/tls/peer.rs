//! What is known about the peer after a handshake.

use rustls::server::ServerConnection;
use rustls::{CipherSuite, HandshakeKind, ProtocolVersion};

use super::client_certificate::ClientCertificate;

/// What the handshake revealed about a client. Made once per connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// "TLSv1.2" or "TLSv1.3".
    pub version: &'static str,
    /// Its IANA name.
    pub cipher: &'static str,
    /// The host name that the client asked for (SNI), in lower case.
    pub server_name: Option<Box<str>>,
    /// The protocol that ALPN selected. A client without ALPN gets HTTP/1.1 if the listener allows it.
    pub protocol: Alpn,
    /// Whether an earlier session was resumed.
    pub is_resumed: bool,
    /// The client's verified certificate.
    pub client: Option<Box<ClientCertificate>>,
}

/// The protocols that ALPN can select.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    Http1,
    Http2,
}

impl Alpn {
    /// Its name in the handshake (RFC 7301).
    pub(super) fn id(self) -> &'static [u8] {
        match self {
            Alpn::Http1 => b"http/1.1",
            Alpn::Http2 => b"h2",
        }
    }
}

impl Peer {
    /// `protocols` are the listener's.
    pub(super) fn of(connection: &ServerConnection, protocols: &[Alpn]) -> Peer {
        let agreed = connection.alpn_protocol();
        let agreed = protocols.iter().find(|protocol| agreed == Some(protocol.id()));
        let spoken = agreed.or_else(|| protocols.last());
        Peer {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher: connection.negotiated_cipher_suite().map_or("", |suite| cipher_name(suite.suite())),
            server_name: connection.server_name().map(Into::into),
            protocol: spoken.copied().unwrap_or(Alpn::Http1),
            is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            client: connection
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map(|der| Box::new(ClientCertificate::read(der))),
        }
    }

    /// An attribute by its name after `connection.tls.`, as used by plugins and placeholders.
    ///
    /// Names: `version`, `cipher`, `server-name`, `resumed`, and for the client's certificate `client.subject`,
    /// `client.issuer`, `client.serial`, `client.names`, `client.fingerprint`.
    pub fn attribute(&self, name: &str) -> Option<String> {
        let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        match name {
            "version" => known(self.version),
            "cipher" => known(self.cipher),
            "server-name" => self.server_name.as_deref().and_then(known),
            "resumed" => Some(self.is_resumed.to_string()),
            _ => self.client.as_ref()?.attribute(name.strip_prefix("client.")?).and_then(known),
        }
    }
}

/// rustls names the suites of TLS 1.3 differently from those of TLS 1.2; IANA does not.
fn cipher_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or_default(),
    }
}
