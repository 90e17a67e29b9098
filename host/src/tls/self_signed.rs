//! A self-signed certificate, for development.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::Mistake;
use super::certificate::{Certified, Fault};

/// Makes a key and a self-signed certificate for this machine's own names.
pub(super) fn make(now: SystemTime) -> Result<Certified, Mistake> {
    let failed = |error: rcgen::Error| Mistake::new(format!("no certificate could be made: {error}"));
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).map_err(failed)?;
    params.subject_alt_names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
    params.subject_alt_names.push(SanType::IpAddress(Ipv6Addr::LOCALHOST.into()));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "gatewright development certificate");
    // Clocks of virtual machines are sometimes slow.
    params.not_before = (now - DAY).into();
    params.not_after = (now + LIFETIME).into();
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let certified = Certified::new(Path::new(NAME), vec![certificate.der().clone()], Path::new(NAME), private);
    certified.map_err(|fault| match fault {
        Fault::Certificate(mistake) | Fault::Key(mistake) => mistake,
    })
}

/// The name in logs and metrics.
pub(super) const NAME: &str = "self-signed";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A gateway under development is restarted more often than that.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);
