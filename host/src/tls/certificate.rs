//! Certificates and keys from their files.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, SignatureAlgorithm};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Mistake, provider};
use crate::regular_file;

/// A certificate with its key, ready for use.
#[derive(Debug)]
pub(super) struct Certified {
    pub key: Arc<CertifiedKey>,
    /// The DNS names among its subject alternative names.
    pub names: Vec<String>,
    pub valid: Validity,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

/// Whose fault it is.
pub(super) enum Fault {
    Certificate(Mistake),
    Key(Mistake),
}

impl Certified {
    /// Parses the bytes of the two files; messages call them `cert` and `key`.
    pub(super) fn parse(cert: &Path, cert_pem: &[u8], key: &Path, key_pem: &[u8]) -> Result<Certified, Fault> {
        let chain = certificates(cert, cert_pem).map_err(Fault::Certificate)?;
        let private = private_key(key, key_pem).map_err(Fault::Key)?;
        Certified::new(cert, chain, key, private)
    }

    pub(super) fn new(
        cert: &Path,
        chain: Vec<CertificateDer<'static>>,
        key: &Path,
        private: PrivateKeyDer<'static>,
    ) -> Result<Certified, Fault> {
        let leaf = chain.first().ok_or_else(|| Fault::Certificate(no_certificate(cert, b"")))?;
        let (names, valid) = read(cert, leaf).map_err(Fault::Certificate)?;
        let signing = provider().key_provider.load_private_key(private).map_err(|error| {
            let message = format!("the key in {} cannot be used: {}", quoted(key), reason(&error));
            Fault::Key(
                Mistake::new(message)
                    .with_help("RSA keys have 2048 to 8192 bits, ECDSA keys are on P-256, P-384 or P-521"),
            )
        })?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(_) => return Err(Fault::Key(unlike(cert, key, &certified))),
        }
        Ok(Certified { key: Arc::new(certified), names, valid })
    }

    /// The algorithm of its key.
    pub(super) fn algorithm(&self) -> SignatureAlgorithm {
        self.key.key.algorithm()
    }
}

impl Validity {
    /// An error if the certificate is not valid `now`.
    pub(super) fn check(&self, file: &Path, now: SystemTime) -> Result<(), Mistake> {
        if self.not_after <= now {
            let ago = days(now.duration_since(self.not_after).unwrap_or_default());
            let message =
                format!("the certificate in {} expired on {} ({ago} ago)", quoted(file), date(self.not_after));
            return Err(Mistake::new(message).with_help("no client would accept it"));
        }
        if self.not_before > now {
            let ahead = days(self.not_before.duration_since(now).unwrap_or_default());
            let message =
                format!("the certificate in {} is valid from {} on (in {ahead})", quoted(file), date(self.not_before));
            return Err(Mistake::new(message).with_help("is the clock of this machine right?"));
        }
        Ok(())
    }
}

/// Reads a file that the configuration names.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, Mistake> {
    let unreadable = |error| Mistake::new(format!("{} cannot be read: {error}", quoted(path)));
    regular_file::read(path, LARGEST_FILE).map_err(unreadable)
}

/// All certificates of a PEM file, at least one.
pub(super) fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Mistake> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(no_certificate(path, pem)),
        Err(error) => Err(not_pem(path, &error)),
    }
}

fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, Mistake> {
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(key),
        Err(PemError::NoItemsFound) => {
            let missing = Mistake::new(format!("{} has no private key in PEM form", quoted(path)));
            Err(match what_it_is(pem) {
                Content::Encrypted => Mistake::new(format!("the key in {} is encrypted", quoted(path)))
                    .with_help("the gateway has no passphrase; write it with `openssl pkey -in KEY -out PLAIN`"),
                Content::Certificate => missing.with_help("it has a certificate: \"cert\" and \"key\" may be swapped"),
                Content::Der => missing.with_help("it may be DER; `openssl pkey -inform DER -in FILE` writes PEM"),
                _ => missing.with_help("a PEM file has lines such as -----BEGIN PRIVATE KEY-----"),
            })
        }
        Err(error) => Err(not_pem(path, &error)),
    }
}

/// The names and the validity of a certificate.
fn read(path: &Path, der: &CertificateDer<'_>) -> Result<(Vec<String>, Validity), Mistake> {
    let unreadable = || Mistake::new(format!("the first certificate in {} cannot be read", quoted(path)));
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| unreadable())?;
    let alternative = certificate.subject_alternative_name().map_err(|_| unreadable())?;
    let names = alternative.iter().flat_map(|extension| &extension.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let validity = certificate.validity();
    Ok((
        names.collect(),
        Validity { not_before: time(validity.not_before.timestamp()), not_after: time(validity.not_after.timestamp()) },
    ))
}

/// The error for a key that does not belong to the first certificate.
fn unlike(cert: &Path, key: &Path, certified: &CertifiedKey) -> Mistake {
    let is_for = |der: &CertificateDer<'static>| {
        CertifiedKey::new(vec![der.clone()], certified.key.clone()).keys_match().is_ok()
    };
    let wrong = Mistake::new(format!("the key in {} is not that of the certificate in {}", quoted(key), quoted(cert)));
    if certified.cert.iter().skip(1).any(is_for) {
        return wrong.with_help("it is that of a later certificate in the file; the gateway's own comes first");
    }
    wrong.with_help(
        "`openssl x509 -noout -pubkey -in CERT` and `openssl pkey -pubout -in KEY` show which belong together",
    )
}

fn no_certificate(path: &Path, pem: &[u8]) -> Mistake {
    let missing = Mistake::new(format!("{} has no certificate in PEM form", quoted(path)));
    match what_it_is(pem) {
        Content::Key | Content::Encrypted => missing.with_help("it has a key: \"cert\" and \"key\" may be swapped"),
        Content::Der => missing.with_help("it may be DER; `openssl x509 -inform DER -in FILE` writes PEM"),
        _ => missing.with_help("a PEM file has lines such as -----BEGIN CERTIFICATE-----"),
    }
}

fn not_pem(path: &Path, error: &PemError) -> Mistake {
    // The error may quote the contents of the file.
    let what = match error {
        PemError::MissingSectionEnd { .. } => "a section has no END line",
        PemError::IllegalSectionStart { .. } => "a BEGIN line is malformed",
        _ => "what stands between BEGIN and END is not base64",
    };
    Mistake::new(format!("{} is not PEM: {what}", quoted(path)))
}

enum Content {
    Certificate,
    Key,
    Encrypted,
    Der,
    Unknown,
}

fn what_it_is(bytes: &[u8]) -> Content {
    let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    if has(b"-----BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED") {
        Content::Encrypted
    } else if has(b"PRIVATE KEY-----") {
        Content::Key
    } else if has(b"-----BEGIN CERTIFICATE") {
        Content::Certificate
    } else if bytes.first() == Some(&DER_SEQUENCE) {
        Content::Der
    } else {
        Content::Unknown
    }
}

/// rustls' message without the part about itself.
fn reason(error: &Error) -> String {
    match error {
        Error::General(text) => text.clone(),
        error => error.to_string(),
    }
}

/// SHA-256 over parts, each preceded by its length.
pub(super) fn digest_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut all = Vec::new();
    for part in parts {
        all.extend_from_slice(&(part.len() as u64).to_be_bytes());
        all.extend_from_slice(part);
    }
    digest(&SHA256, &all).as_ref().try_into().unwrap_or_default()
}

pub(super) fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

/// `01 Mar 2026`.
pub(super) fn date(time: SystemTime) -> String {
    // "Sun, 06 Nov 1994 08:49:37 GMT" has room for four digits of a year, and certificates without an end have 9999.
    let text = httpdate::fmt_http_date(time.min(UNIX_EPOCH + LAST_DATE));
    text.get(5..16).unwrap_or(&text).to_owned()
}

fn days(time: Duration) -> String {
    match time.as_secs() / (24 * 60 * 60) {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

/// A certificate has a few KiB; a file with many authorities is below one MiB.
const LARGEST_FILE: u64 = 16 << 20;

/// The end of the year 9999.
const LAST_DATE: Duration = Duration::from_secs(253_402_300_799);

const DER_SEQUENCE: u8 = 0x30;
