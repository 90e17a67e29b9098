//! TLS with clients and with servers: the only room that names rustls.
//!
//! ```text
//! files ─certificate→ Certified ─names→ Chooser ─server→ Server ─accept→ a stream, and what is known of its peer
//! files ─trust, server_names─verifier, connector→ Connector ─connect→ a stream to a server that is who it says
//! ```
//!
//! A [`Server`] is the TLS configuration of one listener. It belongs to a snapshot and never changes: new files make a
//! new one, which is used for new connections, while existing connections keep theirs. If files and settings are
//! unchanged, the previous one is reused; if only certificates changed, the new one takes over the session ticket keys,
//! so that clients can resume. It does not if the rules about client certificates changed: a resumed session is not
//! asked for its certificate again, so a ticket must not outlive the rule under which it was issued.
//!
//! A [`Connector`] is the same for the other side: the TLS configuration for connections to an upstream's endpoints.
//!
//! The rustls stream is directly under hyper. Listeners without TLS pay nothing for this room.

mod accept;
mod certificate;
mod client_certificate;
mod connector;
mod names;
mod peer;
mod self_signed;
mod server;
mod server_names;
mod trust;
mod verifier;

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use accept::{Refused, Stream};
pub use client_certificate::ClientCertificate;
pub use connector::{Connector, Failed, Outgoing, OutgoingPart, ServerStream};
pub use peer::{Alpn, Peer};
pub use server::{Certificates, Clients, Expiry, Pair, Part, Server, Settings};
pub use trust::Trust;

/// What is wrong with a file, for the person who configured it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub message: String,
    pub help: Option<String>,
}

impl Mistake {
    fn new(message: impl Into<String>) -> Mistake {
        Mistake { message: message.into(), help: None }
    }

    fn with_help(mut self, help: impl Into<String>) -> Mistake {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The cryptography of every connection: aws-lc. For clients that support it, the hybrid of ML-KEM and X25519 comes
/// first, so that traffic recorded today stays secret when there are quantum computers.
fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
        let kx_groups = vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1];
        Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() })
    })
}
