//! The TLS configuration of one listener: certificates, versions, rules about clients, and session ticket keys.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{
    ClientHello, ProducesTickets, ResolvesServerCert, ServerConfig, ServerSessionMemoryCache, StoresServerSessions,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, SupportedProtocolVersion};

use super::certificate::{Certified, Fault, certificates, date, digest_of, quoted, read_file};
use super::names::{Names, is_for};
use super::peer::Alpn;
use super::{Mistake, provider, self_signed};

/// TLS settings of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub certificates: Certificates,
    /// Whether TLS 1.2 is allowed in addition to TLS 1.3.
    pub tls12: bool,
    /// `None`: clients are not asked for certificates.
    pub clients: Option<Clients>,
    /// The protocols for ALPN, best first; the last one is used with clients without ALPN.
    pub protocols: Vec<Alpn>,
}

/// The certificates for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificates {
    /// At least one. The first is for clients that ask for no name, or for a name that no certificate has.
    Files(Vec<Pair>),
    /// Generated at the start, for development.
    SelfSigned,
}

/// The files of a certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Which client certificates are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    /// The file with the authorities.
    pub ca: PathBuf,
    /// Whether a client without a certificate is refused.
    pub required: bool,
}

/// The part of the settings that a mistake is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Server,
    Certificate(usize),
    Key(usize),
    ClientAuthorities,
}

/// When a certificate expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The path of its file as configured, or "self-signed".
    pub certificate: String,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

impl Expiry {
    /// The day on which it expires, for people.
    pub fn end(&self) -> String {
        date(self.not_after)
    }

    /// Whether it should be renewed: in the last third of its life, at most thirty days before its end.
    pub fn is_near(&self, now: SystemTime) -> bool {
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        let left = self.not_after.duration_since(now).unwrap_or_default();
        left < (life / 3).min(NEAR)
    }
}

/// TLS of one listener, ready for use.
pub struct Server {
    pub(super) config: Arc<ServerConfig>,
    settings: Settings,
    shown: Arc<Chooser>,
    /// Of everything that it was made from.
    digest: [u8; 32],
    /// Of the rules for client certificates.
    admission: [u8; 32],
}

impl Server {
    /// Reads the files. If the settings and all bytes are those of `previous`, returns `previous` itself.
    ///
    /// A certificate that is not valid `now` is a mistake, unless it was in use before: it then expired while in use,
    /// and that must not block unrelated changes.
    ///
    /// # Errors
    /// All mistakes, each with its part.
    pub fn load(
        settings: Settings,
        previous: Option<&Arc<Server>>,
        now: SystemTime,
    ) -> Result<Arc<Server>, Vec<(Part, Mistake)>> {
        let mut mistakes = Vec::new();
        let read = Files::read(&settings, &mut mistakes);
        let digest = read.digest(&settings);
        if let Some(previous) = previous.filter(|previous| mistakes.is_empty() && previous.digest == digest) {
            return Ok(previous.clone());
        }
        let in_use = |certified: &Certified| {
            previous.is_some_and(|previous| previous.shown.all.iter().any(|known| known.key.cert == certified.key.cert))
        };
        let shown = match &settings.certificates {
            Certificates::Files(pairs) => read.certified(pairs, &in_use, now, &mut mistakes),
            Certificates::SelfSigned => made(previous, now, &mut mistakes),
        };
        let authorities = read.authorities(&settings, &mut mistakes);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let chooser = Arc::new(Chooser::new(shown));
        let admission = digest_of([
            read.authorities.as_deref().unwrap_or_default(),
            &[u8::from(settings.clients.as_ref().is_some_and(|clients| clients.required))],
        ]);
        let sessions = match previous.filter(|previous| previous.admission == admission) {
            Some(previous) => Sessions::of(&previous.config),
            None => Sessions::new().map_err(|mistake| vec![(Part::Server, mistake)])?,
        };
        let config = config(&settings, authorities, chooser.clone(), sessions)
            .map_err(|mistake| vec![(Part::ClientAuthorities, mistake)])?;
        Ok(Arc::new(Server { config: Arc::new(config), settings, shown: chooser, digest, admission }))
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The certificates that a client asking for this name may get, and whether they actually contain the name.
    pub fn shown_for(&self, name: &str) -> (Vec<String>, bool) {
        let by_name = self.shown.names.find(&name.to_ascii_lowercase());
        let ends: Vec<Expiry> = self.expiries().collect();
        let files = by_name.unwrap_or(&self.shown.default).iter().filter_map(|at| ends.get(*at));
        (files.map(|expiry| expiry.certificate.clone()).collect(), by_name.is_some())
    }

    /// Whether a client that asked for `name` in its handshake may send requests for `host` on the same connection:
    /// only if a certificate that it may have got is valid for both (RFC 9113, section 9.1.1). A single certificate
    /// cannot distinguish hosts.
    pub fn covers(&self, name: &str, host: &str) -> bool {
        let Chooser { all, names, default } = &*self.shown;
        if all.len() < 2 || name.eq_ignore_ascii_case(host) {
            return true;
        }
        let shown = names.find(name).unwrap_or(default);
        shown.iter().filter_map(|at| all.get(*at)).flat_map(|certified| &certified.names).any(|name| is_for(name, host))
    }

    /// When its certificates expire, in the order of the settings.
    pub fn expiries(&self) -> impl Iterator<Item = Expiry> {
        self.shown.all.iter().enumerate().map(|(at, certified)| Expiry {
            certificate: match &self.settings.certificates {
                Certificates::Files(pairs) => {
                    pairs.get(at).map_or_else(String::new, |pair| pair.cert.display().to_string())
                }
                Certificates::SelfSigned => self_signed::NAME.to_owned(),
            },
            not_before: certified.valid.not_before,
            not_after: certified.valid.not_after,
        })
    }
}

impl Settings {
    /// The files that are read.
    pub fn files(&self) -> Vec<PathBuf> {
        let pairs = match &self.certificates {
            Certificates::Files(pairs) => pairs.as_slice(),
            Certificates::SelfSigned => &[],
        };
        let ca = self.clients.iter().map(|clients| clients.ca.clone());
        pairs.iter().flat_map(|pair| [pair.cert.clone(), pair.key.clone()]).chain(ca).collect()
    }
}

/// The contents of the files.
struct Files {
    /// A certificate and its key; `None` if one of the two cannot be read.
    pairs: Vec<Option<(Vec<u8>, Vec<u8>)>>,
    authorities: Option<Vec<u8>>,
}

impl Files {
    fn read(settings: &Settings, mistakes: &mut Vec<(Part, Mistake)>) -> Files {
        let mut read = |path: &Path, part| read_file(path).map_err(|mistake| mistakes.push((part, mistake))).ok();
        let pairs = match &settings.certificates {
            Certificates::Files(pairs) => pairs.as_slice(),
            Certificates::SelfSigned => &[],
        };
        let pairs = pairs.iter().enumerate().map(|(at, pair)| {
            let cert = read(&pair.cert, Part::Certificate(at));
            let key = read(&pair.key, Part::Key(at));
            Some((cert?, key?))
        });
        let pairs = pairs.collect();
        let authorities = settings.clients.as_ref().and_then(|clients| read(&clients.ca, Part::ClientAuthorities));
        Files { pairs, authorities }
    }

    fn digest(&self, settings: &Settings) -> [u8; 32] {
        let settings = format!("{settings:?}");
        let pairs = self.pairs.iter().flatten().flat_map(|(cert, key)| [cert.as_slice(), key.as_slice()]);
        let authorities = self.authorities.as_deref();
        digest_of([settings.as_bytes()].into_iter().chain(pairs).chain(authorities))
    }

    fn certified(
        &self,
        pairs: &[Pair],
        in_use: &dyn Fn(&Certified) -> bool,
        now: SystemTime,
        mistakes: &mut Vec<(Part, Mistake)>,
    ) -> Vec<Certified> {
        let mut shown = Vec::with_capacity(pairs.len());
        let mut names = Names::default();
        for (at, (pair, bytes)) in pairs.iter().zip(&self.pairs).enumerate() {
            let Some((cert, key)) = bytes else { continue };
            match Certified::parse(&pair.cert, cert, &pair.key, key) {
                Err(Fault::Certificate(mistake)) => mistakes.push((Part::Certificate(at), mistake)),
                Err(Fault::Key(mistake)) => mistakes.push((Part::Key(at), mistake)),
                Ok(certified) => {
                    let valid = certified.valid.check(&pair.cert, now);
                    let found = valid.err().filter(|_| !in_use(&certified));
                    let found = found.or_else(|| unreachable_or_twice(at, pair, &certified, &shown, &names, pairs));
                    mistakes.extend(found.map(|mistake| (Part::Certificate(at), mistake)));
                    certified.names.iter().for_each(|name| names.add(name, shown.len()));
                    shown.push(certified);
                }
            }
        }
        shown
    }

    fn authorities(&self, settings: &Settings, mistakes: &mut Vec<(Part, Mistake)>) -> Option<Arc<RootCertStore>> {
        let (clients, pem) = (settings.clients.as_ref()?, self.authorities.as_deref()?);
        match authorities(&clients.ca, pem) {
            Ok(roots) => Some(Arc::new(roots)),
            Err(mistake) => {
                mistakes.push((Part::ClientAuthorities, mistake));
                None
            }
        }
    }
}

/// The authorities in a PEM file.
pub(super) fn authorities(path: &Path, pem: &[u8]) -> Result<RootCertStore, Mistake> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, pem)? {
        roots.add(certificate).map_err(|error| {
            Mistake::new(format!("{} has a certificate that cannot be used as an authority: {error}", quoted(path)))
        })?;
    }
    Ok(roots)
}

/// The mistake of a certificate that no client would get.
fn unreachable_or_twice(
    at: usize,
    pair: &Pair,
    certified: &Certified,
    before: &[Certified],
    names: &Names,
    pairs: &[Pair],
) -> Option<Mistake> {
    if certified.names.is_empty() && at > 0 {
        let nameless = Mistake::new(format!(
            "the certificate in {} has no DNS name among its subject alternative names, so no client gets it",
            quoted(&pair.cert)
        ));
        return Some(
            nameless.with_help("clients ignore the common name; only the first of the list may be without names"),
        );
    }
    let (name, first) = certified.names.iter().find_map(|name| {
        let same_kind = |first: &&usize| before.get(**first).is_some_and(|it| it.algorithm() == certified.algorithm());
        Some((name, *names.with(name).iter().find(same_kind)?))
    })?;
    let other = pairs.get(first).map_or_else(String::new, |pair| quoted(&pair.cert));
    let twice = Mistake::new(format!("the certificates in {} and {other} are both for {name:?}", quoted(&pair.cert)));
    Some(twice.with_help("leave one out; two for one name need keys of different kinds, such as RSA and ECDSA"))
}

/// The certificate for development: the previous one as long as it is valid.
fn made(previous: Option<&Arc<Server>>, now: SystemTime, mistakes: &mut Vec<(Part, Mistake)>) -> Vec<Certified> {
    let kept = previous.filter(|previous| previous.settings.certificates == Certificates::SelfSigned);
    if let Some(kept) = kept.and_then(|previous| previous.shown.all.first()) {
        let same = Certified { key: kept.key.clone(), names: kept.names.clone(), valid: kept.valid };
        if same.valid.check(Path::new(self_signed::NAME), now).is_ok() {
            return vec![same];
        }
    }
    match self_signed::make(now) {
        Ok(certified) => vec![certified],
        Err(mistake) => {
            mistakes.push((Part::Server, mistake));
            Vec::new()
        }
    }
}

/// How sessions are resumed: by tickets, whose keys are renewed every six hours and valid for twelve, and for TLS 1.2
/// clients without tickets by a bounded table.
struct Sessions {
    tickets: Arc<dyn ProducesTickets>,
    table: Arc<dyn StoresServerSessions>,
}

impl Sessions {
    fn new() -> Result<Sessions, Mistake> {
        let failed = |error: rustls::Error| Mistake::new(format!("no keys for session tickets: {error}"));
        Ok(Sessions { tickets: Ticketer::new().map_err(failed)?, table: ServerSessionMemoryCache::new(SESSIONS) })
    }

    fn of(config: &ServerConfig) -> Sessions {
        Sessions { tickets: config.ticketer.clone(), table: config.session_storage.clone() }
    }
}

fn config(
    settings: &Settings,
    authorities: Option<Arc<RootCertStore>>,
    chooser: Arc<Chooser>,
    sessions: Sessions,
) -> Result<ServerConfig, Mistake> {
    let versions: &[&'static SupportedProtocolVersion] = if settings.tls12 { &[&TLS13, &TLS12] } else { &[&TLS13] };
    let builder = ServerConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(versions)
        .map_err(|error| Mistake::new(error.to_string()))?;
    let builder = match (authorities, &settings.clients) {
        (Some(roots), Some(clients)) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider().clone());
            let verifier = if clients.required { verifier } else { verifier.allow_unauthenticated() };
            let verifier = verifier.build().map_err(|error| Mistake::new(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(chooser);
    config.alpn_protocols = settings.protocols.iter().map(|protocol| protocol.id().to_vec()).collect();
    config.session_storage = sessions.table;
    config.ticketer = sessions.tickets;
    Ok(config)
}

/// Chooses the certificate by the name that a client asks for.
struct Chooser {
    all: Vec<Certified>,
    names: Names,
    /// The first certificate, and the others for the same names.
    default: Vec<usize>,
}

impl Chooser {
    fn new(all: Vec<Certified>) -> Chooser {
        let mut names = Names::default();
        for (at, certified) in all.iter().enumerate() {
            certified.names.iter().for_each(|name| names.add(name, at));
        }
        let set = |certified: &Certified| certified.names.iter().cloned().collect::<BTreeSet<String>>();
        let first = all.first().map(set);
        let default = all.iter().enumerate().filter(|(at, it)| *at == 0 || Some(set(it)) == first).map(|(at, _)| at);
        Chooser { default: default.collect(), names, all }
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let by_name = hello.server_name().and_then(|name| self.names.find(name));
        let candidates = by_name.unwrap_or(&self.default);
        let first = *candidates.first()?;
        let fits = |at: &usize| {
            self.all.get(*at).is_some_and(|it| it.key.key.choose_scheme(hello.signature_schemes()).is_some())
        };
        let chosen = match candidates {
            [only] => *only,
            several => several.iter().copied().find(fits).unwrap_or(first),
        };
        Some(self.all.get(chosen)?.key.clone())
    }
}

impl fmt::Debug for Chooser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chooser").field("names", &self.names).finish_non_exhaustive()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// How long before its end a certificate should be renewed, if it is valid for more than three months.
const NEAR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Sessions of TLS 1.2 clients without tickets; each takes some hundred bytes.
const SESSIONS: usize = 4096;

#[cfg(test)]
mod tests;
