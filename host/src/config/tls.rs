//! `tls`: TLS with clients and with servers: versions, certificates to present, authorities to trust.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::https::Hsts;

/// TLS with the clients of a listener. Requires one of `certificates` and `self_signed`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerTls {
    /// The certificates to present, each with its key. A client gets the one whose subject alternative names contain
    /// the requested name (SNI), an exact name before a wildcard; if none does, the first in the list. Two may have the
    /// same name if their keys are of different types (RSA, ECDSA, Ed25519). The files are watched: new ones take
    /// effect without dropping a connection.
    #[schemars(length(max = 10_000))]
    pub certificates: Vec<Certificate>,

    /// Generates a certificate for `localhost`, `127.0.0.1` and `::1` at startup, instead of `certificates`. It is kept
    /// only in memory. For development: no client trusts it. Default: false.
    pub self_signed: bool,

    /// The oldest accepted version: "1.2" or "1.3". Default: "1.2".
    pub min_version: TlsVersion,

    /// Requests client certificates. Default: none are requested.
    pub client: Option<ClientCertificates>,

    /// Tells browsers to use only https: `true`, or an object. Default: off.
    pub hsts: Option<Hsts>,
}

/// TLS with the endpoints of an upstream; `{}` has every default. Every connection is verified: the server's
/// certificate must be signed by an authority trusted here, be currently valid, and cover the expected name. This
/// cannot be turned off; to trust a self-signed certificate, list it in `ca`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTls {
    /// A PEM file with the authorities that sign the servers' certificates; no others are trusted. The path is relative
    /// to gateway.json; the file is watched. Default: the system's authorities and `trusted_authorities`.
    #[schemars(length(min = 1))]
    pub ca: Option<String>,

    /// The name that is requested in the handshake (SNI) and that the certificate must cover: a host name, or an IP
    /// address, for which no SNI is sent. Default: the host of the endpoint's address.
    #[schemars(length(min = 1, max = 253))]
    pub server_name: Option<String>,

    /// The names of which the certificate must contain one instead, among its subject alternative names: host names, IP
    /// addresses, or URIs such as "spiffe://example/orders". Default: `server_name`.
    #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 2048)))]
    pub subject_alt_names: Option<Vec<String>>,

    /// The client certificate that is presented to servers that ask for one (mutual TLS). The files are watched.
    /// Default: none.
    pub certificate: Option<Certificate>,

    /// The oldest accepted version: "1.2" or "1.3". Default: "1.2".
    pub min_version: TlsVersion,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// A PEM file: the certificate followed by its intermediate certificates. The path is relative to gateway.json.
    #[schemars(length(min = 1))]
    pub cert: String,

    /// A PEM file with the private key (PKCS #8, PKCS #1 or SEC 1, not encrypted). The path is relative to gateway.json.
    #[schemars(length(min = 1))]
    pub key: String,
}

/// Client certificates (mutual TLS). Their contents are available to plugins as `connection.tls.client.*`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificates {
    /// A PEM file with the authorities whose certificates are accepted. The path is relative to gateway.json.
    #[schemars(length(min = 1))]
    pub ca: String,

    /// Whether a client without a certificate is refused. One with an invalid certificate always is. Default: true.
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
