//! The authorities that servers' certificates are verified against by default.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::Mistake;
use super::certificate::{certificates, digest_of, quoted, read_file};

/// The system's authorities and those that the operator has added. The system's are read only when first needed, which
/// in most gateways is never.
#[derive(Default)]
pub struct Trust {
    added: Vec<CertificateDer<'static>>,
    roots: OnceLock<Result<Roots, Mistake>>,
}

/// Authorities, ready for verification.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    pub store: Arc<RootCertStore>,
    /// Those that the operator has listed. A server may show one of these as its own certificate.
    pub listed: Arc<[CertificateDer<'static>]>,
    /// Of the certificates.
    pub digest: [u8; 32],
}

impl Trust {
    /// Reads the operator's files.
    ///
    /// # Errors
    /// The mistake in each file, by its position in the list.
    pub fn load(files: &[PathBuf]) -> Result<Trust, Vec<(usize, Mistake)>> {
        let mut mistakes = Vec::new();
        let mut added = Vec::new();
        for (at, file) in files.iter().enumerate() {
            let read = read_file(file).and_then(|pem| {
                let found = certificates(file, &pem)?;
                // What the store refuses is not an authority.
                Roots::of(&found).map_err(|reason| unusable(&quoted(file), &reason))?;
                Ok(found)
            });
            match read {
                Ok(found) => added.extend(found),
                Err(mistake) => mistakes.push((at, mistake)),
            }
        }
        if mistakes.is_empty() { Ok(Trust { added, roots: OnceLock::new() }) } else { Err(mistakes) }
    }

    pub(super) fn roots(&self) -> Result<Roots, Mistake> {
        self.roots.get_or_init(|| self.collect()).clone()
    }

    fn collect(&self) -> Result<Roots, Mistake> {
        let system = rustls_native_certs::load_native_certs();
        // The system's certificates may be of any age; unusable ones are skipped.
        let usable =
            system.certs.into_iter().filter(|certificate| Roots::of(std::slice::from_ref(certificate)).is_ok());
        let all: Vec<CertificateDer<'static>> = usable.chain(self.added.iter().cloned()).collect();
        if all.is_empty() {
            let unknown = Mistake::new("this system knows no certificate authority to check servers with");
            return Err(unknown.with_help(
                "install them (Debian: ca-certificates), or name a file in \"ca\" here or in \"trusted_authorities\"",
            ));
        }
        let roots = Roots::of(&all).map_err(|reason| unusable("the system", &reason))?;
        Ok(Roots { listed: self.added.as_slice().into(), ..roots })
    }
}

impl Roots {
    /// The authorities of a list.
    pub(super) fn of(all: &[CertificateDer<'static>]) -> Result<Roots, String> {
        let mut store = RootCertStore::empty();
        for certificate in all {
            store.add(certificate.clone()).map_err(|error| error.to_string())?;
        }
        let digest = digest_of(all.iter().map(|certificate| &**certificate));
        Ok(Roots { store: Arc::new(store), listed: all.into(), digest })
    }
}

/// The mistake of a file with a certificate that cannot be an authority.
pub(super) fn unusable(whose: &str, reason: &str) -> Mistake {
    Mistake::new(format!("{whose} has a certificate that cannot be used as an authority: {reason}"))
}
