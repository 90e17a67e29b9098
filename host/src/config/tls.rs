//! `tls`: TLS with clients and with servers: versions, certificates to present, authorities to trust.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::https::Hsts;

/// TLS with the clients of a listener. One of `certificates` and `self_signed` is needed.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerTls {
    /// What the gateway shows, each certificate with its key. A client gets the one that has the name it asks for (SNI)
    /// among its subject alternative names: the exact name before a wildcard; where none has it, the first of the list.
    /// Two may have the same name where their keys are of different kinds (RSA, ECDSA, Ed25519). The files are watched:
    /// new ones take effect when they are there, and no connection is dropped.
    #[schemars(length(max = 10_000))]
    pub certificates: Vec<Certificate>,

    /// Makes a certificate for `localhost`, `127.0.0.1` and `::1` when the gateway starts, in place of `certificates`. It
    /// is kept in memory alone. For development: nobody trusts it. Default: false.
    pub self_signed: bool,

    /// The oldest version that is spoken: "1.2" or "1.3". Default: "1.2".
    pub min_version: TlsVersion,

    /// Asks clients for certificates. Default: they are not asked.
    pub client: Option<ClientCertificates>,

    /// Tells browsers to come back over https alone: `true`, or an object. Default: nothing of it is said.
    pub hsts: Option<Hsts>,
}

/// TLS with the endpoints of an upstream; `{}` has every default. Each connection is checked: the server's certificate
/// has to be signed by an authority that is trusted here, to hold now, and to be for the name that is meant. There is no
/// way around it; a self-signed certificate is trusted by naming it in `ca`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTls {
    /// A PEM file with the authorities of the servers: these and no others are trusted. The path is relative to
    /// gateway.json; the file is watched. Default: the system's authorities and `trusted_authorities`.
    #[schemars(length(min = 1))]
    pub ca: Option<String>,

    /// What is asked for in the handshake (SNI), and what the certificate has to be for: a host name, or an IP address,
    /// for which nothing is asked. Default: the host of the endpoint's address.
    #[schemars(length(min = 1, max = 253))]
    pub server_name: Option<String>,

    /// What the certificate has to be for instead, one of these: host names, IP addresses, or URIs such as
    /// "spiffe://example/orders", among its subject alternative names. Default: `server_name`.
    #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 2048)))]
    pub subject_alt_names: Option<Vec<String>>,

    /// What is shown to servers that ask for a certificate (mutual TLS). The files are watched. Default: nothing.
    pub certificate: Option<Certificate>,

    /// The oldest version that is spoken: "1.2" or "1.3". Default: "1.2".
    pub min_version: TlsVersion,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// A PEM file: the certificate first, then those of the authorities between it and the root. The path is relative to
    /// gateway.json.
    #[schemars(length(min = 1))]
    pub cert: String,

    /// A PEM file with the private key (PKCS #8, PKCS #1 or SEC 1, not encrypted). The path is relative to gateway.json.
    #[schemars(length(min = 1))]
    pub key: String,
}

/// The certificates of clients (mutual TLS). What they say is known to plugins as `connection.tls.client.*`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificates {
    /// A PEM file with the authorities whose certificates are accepted. The path is relative to gateway.json.
    #[schemars(length(min = 1))]
    pub ca: String,

    /// Whether a client without a certificate is refused. One whose certificate is not accepted always is. Default:
    /// true.
    #[serde(default = "yes")]
    pub required: bool,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
pub enum TlsVersion {
    /// RFC 5246, with forward secrecy and authenticated encryption only.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    Tls13,
}

fn yes() -> bool {
    true
}
